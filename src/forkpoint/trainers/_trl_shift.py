"""Whole groups of a TRL rollout sampled at another temperature, for a method that asks for it with ``Method.shift``.

The same call of the model's ``generate`` samples all rows; a logits processor multiplies the shifted ones by host
temperature / theirs, and the others by one. A draw of a row does not depend on other rows, so the others come out as
they would have. Groups are shifted whole, so no baseline mixes two temperatures; they are drawn by (run seed, group's
number), the same on every process. Log-probs stay those of the host's temperature.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from forkpoint.draws import token_hash
from forkpoint.trainers import _trl_host as host
from forkpoint.trainers._trl_control import Control

GROUPS = 2**40
"""where a token's position stands in a hash, and no token's position is: groups and tokens are drawn apart"""


class Shifted:
    """Wraps the making of rollouts: asks ``control`` for share and temperature, and marks the rows it shifted."""

    def __init__(self, trainer: Any, control: Control) -> None:
        refuse(trainer, control.method.name)
        self.trainer, self.control = trainer, control
        host.wrap_generation(trainer, self._around)

    def _around(self, original: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        @wraps(original)
        def wrapped(inputs: Any) -> dict[str, Any]:
            if not self.trainer.model.training:
                return original(inputs)
            rows = self._rows(len(inputs))
            with self._sampling(rows):
                batch = original(inputs)
            return batch | {"forkpoint_shifted": rows.to(batch["advantages"].device)}

        return wrapped

    def _rows(self, size: int) -> Bool[Tensor, " B"]:
        """Which of this process's rows belong to a group that is shifted."""
        accelerator, num = self.trainer.accelerator, self.trainer.num_generations
        first = getattr(self.trainer, "forkpoint_rows_seen", 0) // num
        shift = self.control.method.shift
        assert shift is not None
        groups = drawn(shift.share, first, size * accelerator.num_processes // num, self.trainer.args.seed)
        place = accelerator.process_index * size + torch.arange(size)
        return torch.isin(first + place // num, torch.as_tensor(groups))

    @contextmanager
    def _sampling(self, rows: Bool[Tensor, " B"]) -> Iterator[None]:
        """The model's ``generate`` with the shifted rows' temperature; HostError where it was not called once."""
        model, shift = self.trainer.accelerator.unwrap_model(self.trainer.model), self.control.method.shift
        assert shift is not None
        warp = Warp(torch.where(rows, self.trainer.args.temperature / shift.temperature, 1.0))
        own, generate, calls = vars(model).get("generate"), model.generate, []

        @wraps(generate)
        def shifted(*args: Any, **more: Any) -> Any:
            calls.append(more)
            return generate(*args, **more, logits_processor=LogitsProcessorList([warp]))

        model.generate = shifted
        try:
            yield
        finally:
            del model.generate
            if own is not None:
                model.generate = own
        if len(calls) != 1:
            raise host.HostError(f"a rollout took {len(calls)} calls of generate, so rows could not be shifted")


class Warp(LogitsProcessor):
    """scores times one factor per row.

    >>> Warp(torch.tensor([1.0, 0.5]))(torch.zeros(2, 1, dtype=torch.long), torch.tensor([[2.0, 4.0], [2.0, 4.0]]))
    tensor([[2., 4.],
            [1., 2.]])
    """

    def __init__(self, factor: Float[Tensor, " B"]) -> None:
        self.factor = factor

    def __call__(self, input_ids: Int[Tensor, "B L"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        return scores * self.factor.to(scores).unsqueeze(1)


def drawn(share: float, first: int, num: int, seed: int) -> Int[np.ndarray, " n"]:
    """max(1, floor(share num)) of the ``num`` groups from number ``first`` on; none where the share is 0.

    >>> len(drawn(0.25, 0, 10, 0)), len(drawn(0.01, 0, 10, 0)), len(drawn(0.0, 0, 10, 0))
    (2, 1, 0)
    """
    groups = first + np.arange(num)
    wanted = max(1, int(share * num)) if share > 0 else 0
    luck = token_hash(groups, np.full(num, GROUPS), (seed, 0))
    return groups[np.argsort(luck, kind="stable")[:wanted]]


def refuse(trainer: Any, name: str) -> None:
    """HostError where the trainer does not sample by one ``generate`` of the model, or scales over shifted rows."""
    args = trainer.args
    reasons = {
        "use_vllm=True samples outside the model": args.use_vllm,
        "use_transformers_continuous_batching=True takes one temperature for all rows": getattr(
            args, "use_transformers_continuous_batching", False
        ),
        "tools make a rollout in several turns": getattr(trainer, "tools", None),
        'scale_rewards="batch" would scale by rewards of shifted rows too': args.scale_rewards == "batch",
    }
    for reason, holds in reasons.items():
        if holds:
            raise host.HostError(f"{name} samples some rows at another temperature, and {reason}; turn that off")
