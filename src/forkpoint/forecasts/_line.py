"""Laws that are a straight line once entropy is transformed: least squares in closed form."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from forkpoint.forecasts._build import End, Model, build
from forkpoint.forecasts._fit import Fit, History, Refusal, Values, check_points

LEAST_SHARE = 0.2
"""share of the way to zero entropy that a run must have gone before a ceiling is extrapolated"""


@dataclass(frozen=True)
class Line:
    """reward = intercept - drop * x(entropy), whose ceiling is the reward at zero entropy."""

    name: str
    formula: str
    drop: str
    """name of the parameter, such as ``a``"""
    intercept: str
    x: Callable[[Values], Values]

    @property
    def origin(self) -> float:
        """x at zero entropy."""
        return float(self.x(np.zeros(1))[0])


def fit_line(line: Line, history: History, *, level: float, ceiling: bool) -> Fit:
    """Least squares of reward on x. ``ceiling=False`` fits without extrapolating, and so asks less of the data.

    Refuses fewer than four points, entropy that never changed and, for a ceiling, a run that has seen less than
    ``LEAST_SHARE`` of the way to zero entropy: (x_max - x_min) / (x_max - x(0)). At that share, nine evenly spread
    points magnify the noise of one evaluation 4.7 times in the ceiling; below it the ceiling says little but that.
    """
    check_points(history, line.name, level)
    x = line.x(history.entropy)
    _check_span(line, x, ceiling)
    intercept = float(_value_at(0.0, x, history.reward[None])[0])
    drop = intercept - float(_value_at(1.0, x, history.reward[None])[0])
    model = Model(
        line.name,
        line.formula,
        {line.drop: drop, line.intercept: intercept},
        curve=lambda later: intercept - drop * line.x(later.entropy),
        jacobian=lambda later: np.stack([-line.x(later.entropy), np.ones(len(later))], axis=1),
    )
    end = End(np.array([-line.origin, 1.0]), refit=lambda rewards: _value_at(line.origin, x, rewards))
    return build(model, history, level=level, end=end if ceiling else None, note="" if ceiling else "none asked for")


def _value_at(place: float, x: Values, rewards: Values) -> Values:
    """What the least-squares line of each row of rewards says at ``place``, (R, N) -> (R,)."""
    # centered: x hardly varies beside its size, and the plain normal equations would lose half the digits
    centered = x - x.mean()
    slopes = rewards @ centered / (centered @ centered)
    return rewards.mean(axis=1) + slopes * (place - x.mean())


def _check_span(line: Line, x: Values, ceiling: bool) -> None:
    span, way = float(np.ptp(x)), float(x.max()) - line.origin
    # a spread at rounding level would be fitted as if it were a trend
    if span <= 1e-9 * max(1.0, abs(float(x.max()))):
        raise Refusal(f"{line.name}: entropy did not change over {len(x)} evaluations; nothing shows what it buys")
    if ceiling and span < LEAST_SHARE * way:
        raise Refusal(
            f"{line.name}: entropy has gone {span / way:.0%} of the way to zero and a ceiling needs {LEAST_SHARE:.0%};"
            " train on, or fit without a ceiling"
        )
