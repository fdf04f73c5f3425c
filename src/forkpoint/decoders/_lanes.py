"""Rows that decode side by side under one key-value cache: fed a token or a mixture, dropped, copied, and counted.

A prompt that several rows share is read once. A row that branches has its cache copied, so nothing is read again.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from forkpoint.decoders._policy import Policy
from forkpoint.policies.padding import left_padded, places, takes_places

WIDE = 64
"""ids of a mixture above which their embeddings are read once for all rows, as rows by ids by width would not fit"""


class Lanes:
    """``copies[i]`` rows for each prompt, in order, all read up to their last token.

    Rows advance together by ``feed``, one position each; ``pick`` drops and copies rows. ``logits`` are those of the
    next token, float32, over the ids that may be drawn. Prompts are padded on the left, and positions count without.

    Raises ValueError for an empty prompt and for logits of which none is a number.
    """

    logits: Float[Tensor, "N V"]

    def __init__(self, policy: Policy, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> None:
        if not all(prompts):
            raise ValueError("a prompt has no tokens; give it at least one")
        self._policy = policy
        self._device = policy.model.device
        taken = signature(policy.model.forward).parameters
        self._fixed: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        self._places = takes_places(policy.model)
        place = {tuple(prompt): i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        ids, self._seen = (part.to(self._device) for part in left_padded(list(place), policy.ends[0]))
        self._cache: Any = None
        with torch.no_grad():
            self._forward(input_ids=ids, position_ids=places(self._seen))
        rows = [place[tuple(prompt)] for prompt, copy in zip(prompts, copies, strict=True) for _ in range(copy)]
        if rows != list(range(len(place))):
            self.pick(rows)

    def __len__(self) -> int:
        return len(self._seen)

    @torch.no_grad()
    def feed(
        self,
        ids: Int[Tensor, " N"],
        mixture: tuple[Int[Tensor, "N K"], Float[Tensor, "N K"]] | None = None,
    ) -> None:
        """Advance every row by the token ``ids``, or by the mean of K tokens' input embeddings with these weights."""
        place = self._seen.sum(-1, keepdim=True)
        self._seen = torch.cat([self._seen, torch.ones_like(place)], 1)
        if mixture is None:
            self._forward(input_ids=ids[:, None], position_ids=place)
            return
        # the module and not its weight: some models scale what comes out of it
        embed, (ids, weights) = self._policy.model.get_input_embeddings(), mixture
        if ids.shape[1] > WIDE:
            ids, at = ids.unique(return_inverse=True)
            each = embed(ids)
            mean = weights.new_zeros(len(weights), len(ids)).scatter_add(1, at, weights) @ each.float()
        else:
            each = embed(ids)
            mean = (each.float() * weights[..., None]).sum(1)
        self._forward(inputs_embeds=mean[:, None].to(each.dtype), position_ids=place)

    @torch.no_grad()
    def pick(self, rows: Sequence[int] | Tensor) -> None:
        """Go on with these rows, in this order; one named twice is copied, one not named is dropped."""
        chosen = torch.as_tensor(rows, device=self._device, dtype=torch.long)
        self._cache.reorder_cache(chosen)
        self._seen, self.logits = self._seen[chosen], self.logits[chosen]

    def _forward(self, *, position_ids: Int[Tensor, "N T"], **inputs: Tensor) -> None:
        if self._places:
            inputs["position_ids"] = position_ids
        # without padding a mask says nothing, and making one takes a tenth of a small model's step
        mask = None if bool(self._seen[:, 0].all()) else self._seen
        out = self._policy.model(
            **inputs, attention_mask=mask, past_key_values=self._cache, use_cache=True, **self._fixed
        )
        self._cache = out.past_key_values
        meter = self._policy.meter
        meter.forwards += 1
        meter.positions += position_ids.numel()
        meter.cached = max(meter.cached, self._seen.numel())
        self.logits = out.logits[:, -1, : self._policy.vocabulary].float()
        broken = ~self.logits.amax(-1).isfinite()  # nan, +inf, or nothing but -inf
        if bool(broken.any()):
            at, row = self._seen.shape[1], int(broken.nonzero()[0, 0])
            who = f"model {self._policy.name!r}: its" if self._policy.name else "the model's"
            what = f"logits are not finite (row {row}, position {at})"
            raise ValueError(f"{who} {what}; its weights are damaged, check the checkpoint")
