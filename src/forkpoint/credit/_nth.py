"""The n-th smallest score of a step, exactly, wherever its tokens lie: no sort, no gather, no limit on their number.

Scores become int64 keys of the same order. The ranks add up a histogram of the keys, keep the bin that holds the n-th
and cut it finer, until the bin is one key (a radix search). A histogram has at most 257 bins and 8 bits of the key are
settled each time, so one search exchanges at most 19 KB, whether the step has a thousand tokens or a billion.

Over many tokens a sample first brackets the score (Floyd & Rivest 1975, doi:10.1145/360680.360691): only what lies
between two bounds becomes keys. The sample decides how long it takes and never what is found.

In numpy on the CPU, where comparing and counting a million scores takes a fifth of the time that torch takes. From a
GPU the scores are copied, once.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from numpy import ndarray
from torch import Tensor

from forkpoint.batch import Ranks

BITS = 8
"""of the key, settled by one histogram"""
SAMPLE = 2**14
"""scores that place the bracket"""
SLACK, DEVIATIONS = 8, 4.0
"""how far the bracket reaches to each side in the sorted sample: places, and standard deviations of the place"""

_SIGNLESS = 2**63 - 1


class Found(NamedTuple):
    """The n-th smallest key, with what lies around it over all ranks."""

    key: int
    below: int
    """how many keys are smaller"""
    ties: int
    """how many are equal to it"""


@dataclass(frozen=True)
class Near:
    """A step narrowed to the candidates that a search has to look at."""

    below: Bool[ndarray, " N"]
    """this rank's candidates that come before all of ``index``"""
    index: Int64[ndarray, " n"]
    """where this rank's candidates near the one searched for stand"""
    num_below: int
    """the number of ``below`` over all ranks"""


def host(values: Tensor) -> ndarray:
    """The values one after the other on the CPU; bfloat16, which numpy lacks, as float32."""
    flat = values.detach().flatten().cpu()
    return (flat.float() if flat.dtype in (torch.bfloat16, torch.float16) else flat).numpy()


def total(*counts: int, ranks: Ranks) -> list[int]:
    """Each count, over all ranks."""
    return [int(count) for count in ranks.sum(torch.tensor(counts))]


def as_key(score: Float[ndarray, " n"]) -> Int64[ndarray, " n"]:
    """Integers in the order of the scores: -inf first, inf last, -0.0 the same as 0.0. The scores hold no nan.

    >>> as_key(np.array([0.0, -0.0, 5e-324, -5e-324])).tolist()
    [0, 0, 1, -2]
    """
    bits = (score.astype(np.float64) + 0.0).view(np.int64)  # + 0.0 turns -0.0 into 0.0
    # floats count up from 0 in sign and magnitude, integers in two's complement: turn the negative half around
    return bits ^ ((bits >> 63) & _SIGNLESS)


def as_score(key: int) -> float:
    """The score of a key; the undoing of ``as_key``.

    >>> as_score(int(as_key(np.array([-0.1]))[0]))
    -0.1
    """
    return float(np.int64(key ^ ((key >> 63) & _SIGNLESS)).view(np.float64))


def nth(keys: Int[ndarray, " n"], num: int, ranks: Ranks) -> Found:
    """The ``num``-th smallest key over all ranks, from 1. Raises ValueError where there are fewer.

    >>> from forkpoint.batch import ALONE
    >>> nth(np.array([30, -7, 30, 30, 99]), 3, ALONE)
    Found(key=30, below=1, ties=3)
    """
    below, (ties,) = 0, total(len(keys), ranks=ranks)
    if not 1 <= num <= ties:
        raise ValueError(f"there is no candidate number {num}: they are {ties}")
    while True:
        low, high = _bounds(keys, ranks)
        if low == high:
            return Found(low, below, ties)
        # shifted before they are subtracted: the whole range of int64 does not fit into int64
        shift = max(0, (high - low).bit_length() - BITS)
        bins = (keys >> shift) - (low >> shift)
        counts = np.bincount(bins, minlength=(high >> shift) - (low >> shift) + 1)
        upto = ranks.sum(torch.as_tensor(counts)).cumsum(0).numpy()
        found = int(np.searchsorted(upto, num - below))
        before = int(upto[found - 1]) if found else 0
        below, ties = below + before, int(upto[found]) - before
        keys = keys[bins == found]


def near(score: Float[ndarray, " N"], among: Bool[ndarray, " N"], first: int, last: int, ranks: Ranks) -> Near:
    """The candidates among which the ``first``-th to the ``last``-th smallest are found; those of nan are left out."""
    low, high = _bracket(score, among, first, last, ranks)
    # comparisons with nan are False
    below = (score < low) & among
    index = np.flatnonzero(((score <= high) & among) ^ below)
    num_below, num_near = total(int(np.count_nonzero(below)), len(index), ranks=ranks)
    if num_below < first and last <= num_below + num_near:
        return Near(below, index, num_below)
    # the sample misled, or there are fewer candidates than asked for: look at them all
    return Near(np.zeros_like(among), np.flatnonzero(among & ~np.isnan(score)), 0)


def _bracket(
    score: Float[ndarray, " N"], among: Bool[ndarray, " N"], first: int, last: int, ranks: Ranks
) -> tuple[float, float]:
    """Two scores of the sample between which the ``first``-th to the ``last``-th smallest most likely lie."""
    stride = total(len(score), ranks=ranks)[0] // SAMPLE | 1  # odd: with rows of even length it meets every position
    if stride == 1:
        return -np.inf, np.inf
    drawn = score[::stride]
    keys = as_key(drawn[among[::stride] & ~np.isnan(drawn)])
    (size,) = total(len(keys), ranks=ranks)
    start, stop = _beside(first / stride, size, -1), _beside(last / stride, size, 1)
    low = as_score(nth(keys, start, ranks).key) if 1 <= start <= size else -np.inf
    high = as_score(nth(keys, stop, ranks).key) if 1 <= stop <= size else np.inf
    return low, high


def _beside(place: float, size: int, side: int) -> int:
    """A place in the sorted sample as far off the expected one as the bracket reaches."""
    deviation = (place * max(0.0, 1 - place / max(size, 1))) ** 0.5
    return int(place + side * (SLACK + DEVIATIONS * deviation))


def _bounds(keys: Int[ndarray, " n"], ranks: Ranks) -> tuple[int, int]:
    """The smallest and the largest key over all ranks; a rank may have none."""
    # ~ turns the order around with no overflow, so that one exchange tells both
    pair = (~int(keys.min()), int(keys.max())) if len(keys) else (-(2**63), -(2**63))
    largest = ranks.max(torch.tensor(pair))
    return ~int(largest[0]), int(largest[1])
