"""maj@k: how often the most common of k answers is right (self-consistency, Wang et al. 2023).

Exact, not resampled: the expectation over every set of k of a problem's n judged completions, drawn without
replacement, ties between answers broken evenly. Completions without an answer fill a draw but have no vote: they never
win over an answer, and a draw of nothing else is wrong. A share from 0 to 1; maj@1 is accuracy.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from forkpoint.probes._few import left_out, sizes
from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Drawn, Samples


def majority(samples: Samples, *, ks: Sequence[int] | None = None) -> Reading:
    """maj@k at k = 1, 2, 4 ... up to the judged completions of a problem, or at ``ks``; left out as in ``pass_at_k``.

    Raises ValueError for a k that no problem has enough judged completions for.

    >>> one = Drawn("p", "", ("",) * 3, ("7", "7", "8"), ("correct", "correct", "wrong"), (0.0,) * 3, (1,) * 3)
    >>> [round(found.value, 4) for found in majority(Samples((one,)), ks=(1, 2, 3)).values.values()]
    [0.6667, 0.6667, 1.0]

    Of two, {7, 7} is right and {7, 8}, two sets of three, half the time.
    """
    asked = sizes(samples, ks, "majority")

    def at(k: int) -> NDArray[np.float64]:
        return samples.each(lambda one: right_of(one, k) if k <= len(one.judged) else math.nan)

    return reading({f"maj@{k}": at(k) for k in asked}, "share", left_out(samples, max(asked)))


def right_of(one: Drawn, k: int) -> float:
    """The chance that the vote of ``k`` is right."""
    votes = Counter(one.answers[i] for i in one.judged)
    right = Counter(one.answers[i] for i in one.judged if one.verdicts[i] == "correct")
    silent = votes.pop(None, 0)
    total = 0.0
    for answer in sorted(right.keys() - {None}, key=str):
        others = sorted(count for other, count in votes.items() if other != answer)
        total += right[answer] / votes[answer] * winning_chance(votes[answer], others, silent, k)
    return total


def winning_chance(count: int, others: Sequence[int], silent: int, k: int) -> float:
    """The chance that an answer given ``count`` times wins the vote of k; a t-fold tie wins 1/t.

    Sums over m, the winner's votes: every other answer has at most m. The coefficients of x are by draws, and the rows
    by answers that tie. To draw k of n without replacement is to draw each with probability k/n, given that k are
    drawn: products of binomial probabilities, where numbers of sets would overflow from n = 1030 on.

    >>> [round(winning_chance(2, [1], 0, k), 4) for k in (1, 2, 3)]
    [0.6667, 0.6667, 1.0]
    """
    size = count + sum(others) + silent
    chance = k / size
    winner = _binomial(count, chance)
    total = 0.0
    for m in range(1, min(count, k) + 1):
        left = k - m
        # an answer given fewer than m times can neither win nor tie: it fills a draw like no answer
        table = _binomial(silent + sum(c for c in others if c < m), chance)[None, : left + 1]
        for other in (c for c in others if c >= m):
            table = _with_rival(table, _binomial(other, chance), m, left)
        if table.shape[1] > left:
            total += float(winner[m] * (table[:, left] / np.arange(1, len(table) + 1)).sum())
    return total / float(_binomial(size, chance)[k])


def _with_rival(table: NDArray[np.float64], rival: NDArray[np.float64], m: int, left: int) -> NDArray[np.float64]:
    """The table with one more answer that gets fewer than m votes or ties at m, up to ``left`` draws."""
    rows = min(len(table), left // m) + 1
    grown = np.zeros((rows, min(table.shape[1] + m, left + 1)))
    for row, ways in enumerate(table):
        product = np.convolve(ways, rival[:m])[: left + 1]
        grown[row, : len(product)] += product
    tied = table[: rows - 1, : max(left + 1 - m, 0)]
    grown[1:, m : m + tied.shape[1]] += rival[m] * tied
    return grown


@lru_cache(maxsize=1024)
def _binomial(size: int, chance: float) -> NDArray[np.float64]:
    """The probabilities of 0 ... ``size`` draws, each with ``chance``; from the likeliest on both ways."""
    if chance == 1:
        return np.eye(size + 1)[size]
    ratios = np.arange(size, 0, -1) / np.arange(1, size + 1) * (chance / (1 - chance))
    mode = min(int((size + 1) * chance), size)
    found = np.concatenate([np.cumprod(1 / ratios[:mode][::-1])[::-1], [1.0], np.cumprod(ratios[mode:])])
    return found / found.sum()
