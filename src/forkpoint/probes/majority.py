"""maj@k: how often the most common of k answers is right (self-consistency, Wang et al. 2023).

Exact, not resampled: the expectation over every set of k of a problem's n judged completions, drawn without
replacement, ties between answers broken evenly. Completions without an answer fill a draw but have no vote: they never
win over an answer, and a draw of nothing else is wrong. A share from 0 to 1; maj@1 is accuracy.
"""

import math
from collections import Counter
from collections.abc import Sequence

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
    chances = [right_by_size(one) for one in samples.problems]

    def at(k: int) -> NDArray[np.float64]:
        return np.array([chance[k] if k < len(chance) else math.nan for chance in chances])

    return reading({f"maj@{k}": at(k) for k in asked}, "share", left_out(samples, max(asked)))


def right_by_size(one: Drawn) -> NDArray[np.float64]:
    """The chance that the vote is right, by how many vote: 0 ... judged completions."""
    votes = Counter(one.answers[i] for i in one.judged)
    right = Counter(one.answers[i] for i in one.judged if one.verdicts[i] == "correct")
    silent = votes.pop(None, 0)
    total = np.zeros(len(one.judged) + 1)
    for answer in sorted(right.keys() - {None}, key=str):
        others = sorted(count for other, count in votes.items() if other != answer)
        total += right[answer] / votes[answer] * winning_chances(votes[answer], others, silent)
    return total


def winning_chances(count: int, others: Sequence[int], silent: int) -> NDArray[np.float64]:
    """The chance that an answer given ``count`` times wins the vote of k, for k = 0 ... all; a t-fold tie wins 1/t.

    Sums over m, the winner's votes: every other answer has at most m. The coefficients of x count draws, and the rows
    the answers that tie.

    >>> winning_chances(2, [1], 0)[1:].round(4).tolist()
    [0.6667, 0.6667, 1.0]
    """
    size = count + sum(others) + silent
    ways = np.zeros(size + 1)
    for m in range(1, count + 1):
        # an answer given fewer than m times can neither win nor tie: it fills a draw like no answer
        table = _binomials(silent + sum(c for c in others if c < m))[None, :]
        for other in (c for c in others if c >= m):
            table = _with_rival(table, other, m)
        shared = (table / np.arange(1, len(table) + 1)[:, None]).sum(0)[: size + 1 - m]
        ways[m : m + len(shared)] += math.comb(count, m) * shared
    return ways / _binomials(size)


def _with_rival(table: NDArray[np.float64], count: int, m: int) -> NDArray[np.float64]:
    """The table with one more answer, given ``count`` times, that gets fewer than m votes or ties at m."""
    fewer, tied = _binomials(count)[:m], math.comb(count, m)
    grown = np.zeros((len(table) + 1, table.shape[1] + m))
    for row, ways in enumerate(table):
        product = np.convolve(ways, fewer)
        grown[row, : len(product)] += product
        grown[row + 1, m:] += tied * ways
    return grown


def _binomials(size: int) -> NDArray[np.float64]:
    return np.array([float(math.comb(size, k)) for k in range(size + 1)])
