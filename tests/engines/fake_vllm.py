"""Batches as vLLM's two runners keep them, written from its signatures: enough to drive a logits processor."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

Model = Callable[[tuple[int, ...]], Tensor]
"""what was read -> logits of the next token"""
Direction = Enum("Direction", {"UNIDIRECTIONAL": auto(), "SWAP": auto()})
PARAMS = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
NONE = {"structured_outputs": None, "thinking_token_budget": None, "allowed_token_ids": None}


def params(extra: dict[str, Any] | None = None, **changed: Any) -> Any:
    return SimpleNamespace(**{**PARAMS, **NONE, "extra_args": extra, **changed})


@dataclass(eq=False)
class Asked:
    prompt: tuple[int, ...]
    params: Any
    limit: int
    end: int
    written: list[int] = field(default_factory=list)
    pieces: int = 0
    """steps in which only a part of the prompt is read"""
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """logits of every place before and after the processor"""

    @property
    def over(self) -> bool:
        return len(self.written) >= self.limit or self.written[-1:] == [self.end]

    def logits(self, model: Model) -> Tensor:
        return model(self.prompt[:1]) if self.pieces else model((*self.prompt, *self.written))

    def sampled(self, before: Tensor, after: Tensor) -> None:
        if self.pieces:
            self.pieces -= 1
        else:
            self.seen.append((before, after))
            self.written.append(int(after.argmax()))


def run_v1(processor: Any, model: Model, asked: Sequence[Asked], chance: random.Random) -> None:
    """Requests come, are left out for a step, come back, change places and leave."""
    rows: list[Asked | None] = []
    while not all(one.over for one in asked):
        scheduled = [one for one in asked if not one.over and chance.random() < 0.8]
        removed = [i for i, one in enumerate(rows) if one is not None and one not in scheduled]
        for i in removed:
            rows[i] = None
        free, added, moved = sorted(removed), [], []
        for one in scheduled:
            if one not in rows:
                row = free.pop(0) if free else len(rows)
                rows[row : row + 1] = [one]
                added.append((row, one.params, list(one.prompt), one.written))
        while None in rows:
            if rows[-1] is not None:
                hole = rows.index(None)
                moved.append((len(rows) - 1, hole, Direction.UNIDIRECTIONAL))
                rows[hole] = rows[-1]
            rows.pop()
        if len(rows) > 1 and chance.random() < 0.5:
            one, other = chance.sample(range(len(rows)), 2)
            rows[one], rows[other] = rows[other], rows[one]
            moved.append((one, other, Direction.SWAP))
        changes = SimpleNamespace(batch_size=len(rows), removed=free, added=added, moved=moved)
        processor.update_state(changes if free or added or moved else None)
        if rows:
            _step(rows, model, processor.apply)


def run_v2(make: Callable[[Any], Any], model: Model, asked: Sequence[Asked], chance: random.Random) -> None:
    """Requests take slots that others had, and stand in another row at every step."""
    slots, most = 3, 64
    arrays = {name: SimpleNamespace(np=np.zeros(slots, dtype=np.int32)) for name in ("prompt_len", "prefill_len")}
    ids = SimpleNamespace(gpu=torch.zeros(slots, most, dtype=torch.int32))
    processor = make(SimpleNamespace(all_token_ids=ids, **arrays))
    held: dict[int, Asked] = {}
    waiting = list(asked)
    while waiting or held:
        for slot in set(range(slots)) - set(held):
            if waiting:
                held[slot] = one = waiting.pop(0)
                arrays["prompt_len"].np[slot] = arrays["prefill_len"].np[slot] = len(one.prompt)
                ids.gpu[slot, : len(one.prompt)] = torch.tensor(one.prompt)
                processor.add_request(slot, one.params)
        order = chance.sample(sorted(held), k=chance.randint(1, len(held)))
        read = [(*held[s].prompt, *held[s].written)[: 1 if held[s].pieces else None] for s in order]
        context = SimpleNamespace(
            idx_mapping_np=np.array(order),
            seq_lens_upper_bound_np=np.array([len(each) for each in read]),
            input_ids=torch.tensor([each[-1] for each in read]),
        )
        _step([held[s] for s in order], model, lambda logits, context=context: processor.apply(logits, context))
        for slot in order:
            done = (*held[slot].prompt, *held[slot].written)
            ids.gpu[slot, : len(done)] = torch.tensor(done)
            if held[slot].over:
                del held[slot]


def _step(rows: Sequence[Any], model: Model, apply: Callable[[Tensor], Tensor]) -> None:
    before = torch.stack([one.logits(model) for one in rows])
    after = apply(before.clone())
    for one, was, now in zip(rows, before, after, strict=True):
        one.sampled(was, now)
