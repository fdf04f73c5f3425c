"""Completions that go on from prefixes, within a budget: what trees and abstractions are made of."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from forkpoint.decoders._decoder import Ask, Decode, Trace
from forkpoint.decoders._machine import Machine, Row, complete


class Fork(NamedTuple):
    """Completions wanted from one prefix."""

    ask: Ask
    want: int
    prefix: tuple[int, ...] = ()
    source: int = 0
    """handed on to ``Trace.source``"""

    @property
    def read(self) -> int:
        """Positions that are read again, once for all that go on side by side."""
        return len(self.ask.prompt) + len(self.prefix)


Grown = list[tuple[Fork, Trace]]


def grow(
    asked: Decode,
    machine: Machine,
    max_tokens: int,
    forks: Sequence[Sequence[Fork]],
    left: Sequence[int],
    begun: Sequence[int],
) -> list[Grown]:
    """For each problem what its forks gave, as much of it as the ``left`` tokens surely pay for.

    Waves, as in ``parallel_vote``: what completions leave of ``max_tokens``, their prefix included, or of the model's
    context, pays for the next wave, which reads prompt and prefix again. ``begun`` rows of a problem were there before:
    samples count on from it.
    """
    found: list[Grown] = [[] for _ in forks]
    waiting, left = [list(each) for each in forks], list(left)
    while True:
        wave: list[tuple[int, Fork, Row]] = []
        for i, each in enumerate(waiting):
            limits = [asked.longest(fork.ask, max_tokens) - len(fork.prefix) for fork in each]
            counts = affordable(each, left[i], limits)
            rows = _rows(each, counts, limits, begun[i] + len(found[i]))
            wave += [(i, fork, row) for fork, row in rows]
            waiting[i] = [f._replace(want=f.want - n) for f, n in zip(each, counts, strict=True) if f.want > n]
        if not wave:
            return found
        for (i, fork, row), trace in zip(wave, complete(asked, machine, [row for *_, row in wave]), strict=True):
            # rows of one prefix stand side by side: the first has read it for all
            trace = replace(trace, source=fork.source, reread=trace.reread if row.reread else 0)
            found[i].append((fork, trace))
            left[i] -= trace.generated + trace.reread


def affordable(forks: Sequence[Fork], left: int, limits: Sequence[int]) -> list[int]:
    """How many completions of each fork ``left`` tokens surely pay for: one of each in turn, then a second of each ...

    ``limits`` are the most tokens behind each prefix.

    >>> ask = Ask("p", (1, 2))
    >>> affordable([Fork(ask, 2), Fork(ask, 2, (3,))], 40, [10, 9])       # 12 + 12, then 10, and 9 is too much
    [2, 1]
    """
    counts = [0] * len(forks)
    for _ in range(max((fork.want for fork in forks), default=0)):
        for i, fork in enumerate(forks):
            cost = limits[i] + (0 if counts[i] else fork.read)
            if counts[i] < fork.want and cost <= left:
                counts[i], left = counts[i] + 1, left - cost
    return counts


def _rows(
    forks: Sequence[Fork], counts: Sequence[int], limits: Sequence[int], begun: int
) -> Iterator[tuple[Fork, Row]]:
    for fork, count, limit in zip(forks, counts, limits, strict=True):
        for j in range(count):
            yield fork, Row(fork.ask, begun, limit, reread=j == 0, prefix=fork.prefix)
            begun += 1
