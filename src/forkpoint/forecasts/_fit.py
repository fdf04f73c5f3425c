"""What a forecast reads, what it returns, and when it declines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
FEWEST = 4
"""points that a fit needs: three parameters and one to spare"""


class Refusal(ValueError):
    """A forecast that would claim more than its data can carry; the reason is one line."""


@dataclass(frozen=True, eq=False)
class History:
    """A run's evaluations in step order; points may be given in any order.

    Raises ValueError where lengths differ, Refusal naming the step of a value that is not finite.

    >>> History(np.array([20.0, 0.0]), np.array([0.3, 0.5]), np.array([0.6, 0.4])).entropy
    array([0.5, 0.3])
    """

    step: Values
    """optimizer steps done"""
    entropy: Values
    """policy entropy in nats; the law means the mean over sequences of token means"""
    reward: Values
    """held-out reward, from 0 to 1 for accuracy"""

    def __post_init__(self) -> None:
        columns = {name: np.asarray(getattr(self, name), dtype=np.float64) for name in ("step", "entropy", "reward")}
        if len({column.shape for column in columns.values()}) > 1 or columns["step"].ndim != 1:
            shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise ValueError(f"history: {shapes} differ or are not one-dimensional; give one value each per evaluation")
        order = np.argsort(columns["step"], kind="stable")
        for name, column in columns.items():
            object.__setattr__(self, name, column[order])
        self._refuse_non_finite()

    def __len__(self) -> int:
        return len(self.step)

    def part(self, chosen: slice) -> "History":
        """Some of the points, by place."""
        return History(self.step[chosen], self.entropy[chosen], self.reward[chosen])

    def _refuse_non_finite(self) -> None:
        for name in ("step", "entropy", "reward"):
            broken = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if len(broken):
                value, step = getattr(self, name)[broken[0]], self.step[broken[0]]
                raise Refusal(f"{name} is {value} at step {step:g}; find out why before forecasting from it")


class Interval(NamedTuple):
    """Where a number lies, at a confidence level from 0 to 1."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Fit:
    """A formula with its parameters, fitted to one history."""

    name: str
    formula: str
    parameters: Mapping[str, float]
    standard_errors: Mapping[str, float]
    """of the parameters and of the ceiling, from least squares, as if residuals were independent"""
    ceiling: float | None
    """the reward that the formula ends at; None where the data do not say"""
    ceiling_interval: Interval | None
    r2: float
    """share of the reward's variance that the fit explains; nan where the reward never changed"""
    rmse: float
    """root of the mean squared residual, in units of reward"""
    num_points: int
    predict: Callable[[History], Values]
    """reward at a history's steps and entropies; its rewards are not looked at"""
    margin: Callable[[History], Values]
    """half-width of the interval around ``predict`` that a new evaluation falls into at the fit's level"""
    note: str = ""
    """why there is no ceiling, where there is none"""


def check_points(history: History, name: str, level: float) -> None:
    """Refuses a history too short to fit. Raises ValueError for a level that is no probability."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; give a number between 0 and 1, such as 0.95")
    if len(history) < FEWEST:
        raise Refusal(f"{name} needs at least {FEWEST} evaluations and has {len(history)}; evaluate more often")
