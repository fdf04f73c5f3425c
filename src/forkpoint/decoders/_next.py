"""The next token's distribution as each stage leaves it, and its entropies, each by its own name.

    raw       softmax(z), all ids
    tempered  softmax(z / T), all ids: what Soft Thinking reads
    filtered  softmax(z / T) after top-k, top-p and min-p in this order, renormalized: what is sampled from
    top20     softmax(z) over its twenty likeliest ids, renormalized: what engines that return 20 log-probs can read

Published rules read different ones under one word: for logits (2, 1, 0, -1, -3), T = .6, top-k 3 and top-p .95 they are
.9713, .5894, .4378 nats, and top20 is raw where there are at most twenty ids.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Entropy = Literal["raw", "tempered", "filtered", "top20"]
ENGINE_TOP = 20
"""log-probs per token that engines return at most, by default"""
TEMPERATURES = (1e-6, 1e6)
"""least and most: logits over less overflow float32, and a masked one, -inf, over infinity is no number"""


def refuse_temperature(name: str, value: float, colder: str = "") -> None:
    """Raises ValueError, in one line, where the setting is not within ``TEMPERATURES``; ``colder`` says what is colder.

    >>> refuse_temperature("temperature", 1e-40)
    Traceback (most recent call last):
    ValueError: temperature=1e-40: it must be from 1e-06 to 1e+06
    """
    low, high = TEMPERATURES
    if not low <= value <= high:
        hint = f"; {colder}" if colder and value < low else ""
        raise ValueError(f"{name}={value}: it must be from {low:g} to {high:g}{hint}")


@dataclass(frozen=True)
class Warp:
    """Temperature, then top-k (0: off), top-p (1: off), min-p (0: off), by transformers' own warpers.

    Raises ValueError for one out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        refuse_temperature("temperature", self.temperature, "greedy is a decoder of its own")
        if self.top_k < 0 or not 0 < self.top_p <= 1 or not 0 <= self.min_p < 1:
            raise ValueError(
                f"top_k={self.top_k}, top_p={self.top_p}, min_p={self.min_p}: top_k is a count (0 for off), "
                "top_p a share in (0, 1], min_p one in [0, 1)"
            )

    @cached_property
    def filters(self) -> tuple[Any, ...]:
        from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        chosen = [
            TopKLogitsWarper(self.top_k) if self.top_k else None,
            TopPLogitsWarper(self.top_p) if self.top_p < 1 else None,
            MinPLogitsWarper(self.min_p) if self.min_p else None,
        ]
        return tuple(each for each in chosen if each is not None)


class Next:
    """``logits`` (N, V) at one step. Each stage is computed when it is first asked for.

    >>> z = torch.tensor([[2.0, 1.0, 0.0, -1.0, -3.0]])
    >>> here = Next(z, Warp(temperature=0.6, top_k=3, top_p=0.95))
    >>> here.filtered[0, :3], here.entropy("tempered"), here.entropy("filtered"), here.entropy("raw")
    (tensor([0.8411, 0.1589, 0.0000]), tensor([0.5894]), tensor([0.4378]), tensor([0.9713]))
    """

    def __init__(self, logits: Float[Tensor, "N V"], warp: Warp) -> None:
        self.logits, self._warp = logits, warp
        self._entropies: dict[Entropy, Tensor] = {}

    @cached_property
    def raw_logp(self) -> Float[Tensor, "N V"]:
        return self.logits.log_softmax(-1)

    @cached_property
    def tempered_logp(self) -> Float[Tensor, "N V"]:
        return self.raw_logp if self._warp.temperature == 1 else (self.logits / self._warp.temperature).log_softmax(-1)

    @cached_property
    def filtered_logp(self) -> Float[Tensor, "N V"]:
        return self._passed.log_softmax(-1) if self._warp.filters else self.tempered_logp

    @cached_property
    def filtered(self) -> Float[Tensor, "N V"]:
        # not exp of the log-probs, which is slow where most are -inf
        return self._passed.softmax(-1)

    @cached_property
    def _passed(self) -> Float[Tensor, "N V"]:
        """Tempered log-probs, -inf where a filter takes them out; not renormalized."""
        return passed(self.tempered_logp, self._warp)

    @cached_property
    def likeliest(self) -> Int[Tensor, " N"]:
        return self.logits.argmax(-1)

    def entropy(self, which: Entropy) -> Float[Tensor, " N"]:
        """In nats; at most ln of the number of ids it looks at, so ln 20 = 2.9957 for ``top20``."""
        # a machine that decides by it and the log that keeps it ask for the same
        if which not in self._entropies:
            self._entropies[which] = self._entropy(which)
        return self._entropies[which]

    def _entropy(self, which: Entropy) -> Float[Tensor, " N"]:
        if which == "top20":
            logp = self.logits.topk(min(ENGINE_TOP, self.logits.shape[-1])).values.log_softmax(-1)
        else:
            logp = {"raw": self.raw_logp, "tempered": self.tempered_logp}.get(which)
            logp = self.filtered_logp if logp is None else logp
        p = self.filtered if which == "filtered" else logp.exp()
        return -(p * torch.where(p > 0, logp, 0.0)).sum(-1)

    def draw(self, luck: Float[Tensor, " N"]) -> Int[Tensor, " N"]:
        """One id per row from ``filtered``: the first whose cumulative probability exceeds ``luck``, in [0, 1)."""
        return pick(self.filtered, luck)


def passed(scores: Float[Tensor, "N V"], warp: Warp) -> Float[Tensor, "N V"]:
    """``scores`` with -inf where a filter takes them out.

    >>> passed(torch.tensor([[0.0, -1.0, -2.0, -4.0]]), Warp(top_k=3, top_p=0.9))
    tensor([[ 0., -1., -inf, -inf]])
    """
    few = scores.topk(min(warp.top_k, scores.shape[-1])) if warp.top_k and len(warp.filters) > 1 else None
    # top-k keeps all that tie with the last
    if few is None or bool(((scores >= few.values[:, -1:]).sum(-1) > few.values.shape[-1]).any()):
        for warper in warp.filters:
            scores = warper(None, scores)
        return scores
    # what follows top-k looks at these alone, and a vocabulary is slow to sort
    kept = few.values
    for warper in warp.filters[1:]:
        kept = warper(None, kept)
    return torch.full_like(scores, -torch.inf).scatter(-1, few.indices, kept)


def pick(p: Float[Tensor, "N K"], luck: Float[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Place of the first entry whose cumulative sum exceeds ``luck`` of the whole; one of probability 0 is never it.

    Raises ValueError where a row's sum is no finite number above 0.

    >>> pick(torch.tensor([[0.0, 0.5, 0.0, 0.5]]).expand(3, 4), torch.tensor([0.0, 0.4999, 0.5]))
    tensor([1, 1, 3])
    """
    reached = p.double().cumsum(-1)
    whole = reached[:, -1:]
    sound = (whole > 0) & (whole < torch.inf)
    # a nan exceeds nothing, and would give place 0
    if not bool(sound.all()):
        total = float(whole[~sound][0])
        raise ValueError(f"the probabilities of a row sum to {total}, so that none can be drawn; check the temperature")
    return (reached <= luck.double()[:, None] * whole).sum(-1)
