"""Differences between runs of the same seeds, with intervals: what a comparison of methods rests on."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forkpoint.metrics.pass_at_k import unbiased_pass_at_k

DRAWS = 10_000


class Difference(NamedTuple):
    """A mean difference over paired seeds."""

    mean: float
    low: float
    high: float
    """95 % bootstrap interval over seeds, and over problems where there are any"""
    p: float
    """two-sided p of Student's t over the seeds' differences; nan with fewer than two seeds"""
    seeds: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, draws: int = DRAWS) -> Difference:
    """ours - theirs, each (seeds,) or (seeds, problems), rows of the same seed side by side.

    The bootstrap draws seeds, and for a table also problems, with replacement, the same for both sides, from a fixed
    seed. Over five seeds alone such an interval has 0.63 of the width that normal differences ask for; ``p`` is exact
    for these.

    Raises ValueError where the shapes differ.

    >>> paired(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 0.0]))
    Difference(mean=2.0, low=1.0, high=3.0, p=0.0741..., seeds=3)
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"paired: {ours.shape} against {theirs.shape}; give the same seeds and problems of both")
    table = np.atleast_2d((ours - theirs).T).T
    by_seed = table.mean(1)
    rng = np.random.default_rng(0)
    seeds = _counts(rng, draws, table.shape[0])
    problems = _counts(rng, draws, table.shape[1])
    means = np.einsum("ds,sp,dp->d", seeds, table, problems, optimize=True)
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(float(by_seed.mean()), float(low), float(high), t_test(by_seed), len(by_seed))


def t_test(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Two-sided p of "the mean is 0", Student's t; nan for fewer than two values, 0 where all are equal and not 0.

    >>> round(t_test([1.0, 2.0, 3.0, 4.0, 5.0]), 4)             # t = 3 / (1.5811 / sqrt 5) = 4.2426, 4 degrees
    0.0132
    """
    values = np.asarray(values, dtype=float)
    freedom = len(values) - 1
    if freedom < 1:
        return math.nan
    deviation = float(values.std(ddof=1))
    if deviation == 0:
        return 0.0 if values.mean() else 1.0
    t = abs(float(values.mean())) / (deviation / math.sqrt(len(values)))
    # with t = sqrt(freedom) tan(angle) the density is cos(angle)^(freedom - 1)
    angle, right = math.atan(t / math.sqrt(freedom)), math.pi / 2
    return 1 - _power_of_cosine(angle, freedom - 1) / _power_of_cosine(right, freedom - 1)


def passes(correct: Sequence[Sequence[int]], samples: int, k: int) -> NDArray[np.float64]:
    """Unbiased pass@k of each seed and problem, from how many of ``samples`` were right: (seeds, problems).

    >>> passes([[0, 1, 2]], 2, 1)
    array([[0. , 0.5, 1. ]])
    """
    known = [unbiased_pass_at_k(samples, right, k) for right in range(samples + 1)]
    return np.array([[known[right] for right in row] for row in correct])


def _counts(rng: np.random.Generator, draws: int, size: int) -> NDArray[np.float64]:
    """How often each of ``size`` is drawn, over ``size``; one is always itself."""
    return rng.multinomial(size, [1 / size] * size, size=draws) / size


def _power_of_cosine(angle: float, power: int) -> float:
    """The integral of cos^power from 0 to angle, by its reduction formula."""
    if power == 0:
        return angle
    if power == 1:
        return math.sin(angle)
    step = math.cos(angle) ** (power - 1) * math.sin(angle) / power
    return step + (power - 1) / power * _power_of_cosine(angle, power - 2)
