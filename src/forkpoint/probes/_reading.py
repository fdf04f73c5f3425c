"""What a probe found: numbers with 95 % bootstrap intervals over problems, and each problem's own."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 2_000
LEVEL = 0.95

Combine = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Value(NamedTuple):
    """A number over problems. The interval holds the value, also where a bootstrap of few problems would not."""

    value: float
    low: float
    high: float
    unit: str
    problems: int
    """how many have the number; others are left out, never counted as 0"""


@dataclass(frozen=True)
class Reading:
    """The named values of one probe."""

    values: Mapping[str, Value]
    per_problem: Mapping[str, tuple[float, ...]]
    """in the order of the samples' problems; nan where a problem has no such number"""
    note: str = ""
    """what was left out, or cannot be said"""


def over_problems(*columns: Sequence[float] | NDArray[np.float64], unit: str, combine: Combine | None = None) -> Value:
    """``combine`` of the columns' means over problems, the first mean by default, with a percentile bootstrap.

    The bootstrap draws problems with replacement from a fixed seed, so that the same samples give the same interval. A
    problem with a nan in any column is left out. Intervals say how far other problems of this kind may lead, at this
    number of samples per problem; nothing is added for other draws of these problems' completions, and where all
    problems agree the interval is a point.

    >>> over_problems([0.0, 1.0, np.nan, 1.0, 0.0], unit="share")
    Value(value=0.5, low=0.0, high=1.0, unit='share', problems=4)
    """
    table = np.array([np.asarray(column, dtype=float) for column in columns])
    table = table[:, np.isfinite(table).all(0)]
    size = table.shape[1]
    if not size:
        return Value(math.nan, math.nan, math.nan, unit, 0)
    # sorted: the sum, and so the last bit, must not depend on the order of problems
    table = table[:, np.lexsort(table)]
    combined = combine or _first
    value = float(combined(table.mean(1)[:, None])[0])
    low, high = np.quantile(combined(table @ _weights(size).T), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Value(value, min(value, float(low)), max(value, float(high)), unit, size)


def reading(columns: Mapping[str, NDArray[np.float64]], units: str | Mapping[str, str], note: str = "") -> Reading:
    """A reading whose values are means over problems; ``units`` is one for all, or one by name."""
    named = {name: units if isinstance(units, str) else units[name] for name in columns}
    values = {name: over_problems(column, unit=named[name]) for name, column in columns.items()}
    return Reading(values, per_problem(columns), note)


def per_problem(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(column.tolist()) for name, column in columns.items()}


def _first(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return means[0]


@lru_cache(maxsize=32)
def _weights(size: int) -> NDArray[np.float64]:
    """How often each problem is drawn in each of the bootstrap's draws, over how many there are."""
    return np.random.default_rng(0).multinomial(size, [1 / size] * size, size=DRAWS) / size
