"""Several completions of a problem under one budget: waves of as many as what is left surely pays for.

A wave holds as many whole completions as what is left could pay for at full length, so that the budget holds whatever
their lengths turn out to be; what they leave pays for the next wave, whose prompt is read again and counted. The last
completion may be cut short.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from forkpoint.decoders._decoder import Decode, Trace
from forkpoint.decoders._machine import Machine, Row, complete


class More(NamedTuple):
    """What a problem's next wave may be."""

    paths: int
    """at most; none where it is 0 or less"""
    threshold: float = -math.inf
    """what the machine holds them to"""


def at_most(paths: int) -> Callable[[Sequence[Trace]], More]:
    """So many paths of a problem in all."""
    return lambda traces: More(paths - len(traces))


def waves(
    asked: Decode, machine: Machine, max_tokens: int, more: Callable[[Sequence[Trace]], More]
) -> list[list[Trace]]:
    """The paths of every problem, in the order of their samples; ``more`` says what follows those that there are."""
    found: list[list[Trace]] = [[] for _ in asked.asks]
    left = [asked.budget - len(ask.prompt) for ask in asked.asks]
    while True:
        wave: list[tuple[int, Row]] = []
        for i, ask in enumerate(asked.asks):
            begun, (paths, threshold) = len(found[i]), more(found[i])
            limits = affordable(left[i] - (len(ask.prompt) if begun else 0), asked.longest(ask, max_tokens))
            wave += [
                (i, Row(ask, begun + j, limit, reread=bool(begun) and j == 0, threshold=threshold))
                for j, limit in enumerate(limits[: max(paths, 0)])
            ]
        if not wave:
            return found
        for (i, _), trace in zip(wave, complete(asked, machine, [row for _, row in wave]), strict=True):
            found[i].append(trace)
            left[i] -= trace.generated + trace.reread


def affordable(left: int, max_tokens: int) -> list[int]:
    """Limits of the completions that ``left`` tokens surely pay for: whole ones, or one cut short.

    >>> affordable(25, 10), affordable(7, 10), affordable(0, 10)
    ([10, 10], [7], [])
    """
    if left <= 0:
        return []
    return [max_tokens] * (left // max_tokens) or [left]
