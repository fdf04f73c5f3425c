"""One request under a stop rule: its tokens so far, whether it thinks, and the id that its next place must take."""

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Any

import torch
from torch import Tensor

from forkpoint.decoders import Next, Thinks, Warp
from forkpoint.engines._rules import Stop


@dataclass
class Request:
    """``force`` says what a place takes, as often as it is asked; ``take`` goes on to the next place.

    Engines ask for a place more than once where a prompt is read in pieces: the last answer before ``take`` counts.
    """

    stop: Stop
    warp: Warp
    """how the engine samples it, for entropies after temperature and filters"""
    prompt: Sequence[int] = ()
    written: InitVar[Sequence[int]] = ()
    count: int = 0
    """tokens written"""

    def __post_init__(self, written: Sequence[int]) -> None:
        self._state = self._next = self.stop.rule.begin()
        self._queue: tuple[int, ...] = ()
        self._put: tuple[int, ...] = ()
        self._last: int | None = None
        self._thinks = Thinks(self.stop.markers)
        for token in self.prompt:
            self._thinks.take(token, in_prompt=True)
        for token in written:
            self.take(token)

    def force(self, reading: float) -> int | None:
        """The id that this place takes; None where the choice is the engine's."""
        rule = self.stop.rule
        counts = not self._queue and (self._thinks.now or not rule.thinking)
        self._next, over = rule.update(self._state, reading, counts)
        self._put = self._queue or (self.stop.end if over else ())
        return self._put[0] if self._put and (self._queue or not rule.after) else None

    def take(self, token: int) -> None:
        """This place has its token."""
        late = self.stop.rule.after and not self._queue
        self._state, self._queue, self._put = self._next, self._put if late else self._put[1:], ()
        self.count, self._last = self.count + 1, token
        self._thinks.take(token)

    def follow(self, written: Sequence[int]) -> "Request":
        """The request after these tokens in all; anew, its counts too, where an engine has taken some back."""
        if len(written) < self.count or (self.count and written[self.count - 1] != self._last):
            return Request(self.stop, self.warp, self.prompt, written)
        for token in written[self.count :]:
            self.take(token)
        return self


def put(logits: Tensor, rows: Mapping[int, Request]) -> Tensor:
    """In place: where a row's request says which id it takes, no other is possible; other rows are not written to."""
    for request_rows in _alike(rows).values():
        first = rows[request_rows[0]]
        here = Next(logits[request_rows].float(), first.warp)
        # one transfer for all rows of a kind
        readings = first.stop.rule.read(here).tolist()
        for row, reading in zip(request_rows, readings, strict=True):
            token = rows[row].force(reading)
            if token is not None:
                logits[row] = -torch.inf
                logits[row, token] = 0.0
    return logits


def _alike(rows: Mapping[int, Request]) -> dict[Any, list[int]]:
    """Rows by what is read of them."""
    found: dict[Any, list[int]] = {}
    for row, request in rows.items():
        found.setdefault((request.stop.rule, request.warp), []).append(row)
    return found
