"""From a model at its least-squares parameters to a ``Fit``: what all forecasts report alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from forkpoint.forecasts._fit import Fit, History, Values
from forkpoint.forecasts._interval import Ceiling, ceiling_interval, least_squares_errors


@dataclass(frozen=True)
class Model:
    """A formula with the parameters that fit best."""

    name: str
    formula: str
    parameters: Mapping[str, float]
    curve: Callable[[History], Values]
    """reward at a history's steps and entropies"""
    jacobian: Callable[[History], Values]
    """its derivative by each parameter, in their order, (N, P)"""


@dataclass(frozen=True)
class End:
    """The model's ceiling as a combination of its parameters, and how to find it again from other rewards."""

    gradient: Values
    refit: Callable[[Values], Values]


def build(model: Model, history: History, *, level: float, end: End | None, note: str = "") -> Fit:
    """Errors, quality and intervals of the model on the history it was fitted to."""
    fitted = model.curve(history)
    residuals = history.reward - fitted
    errors = least_squares_errors(model.jacobian(history), residuals)
    r2, rmse = quality(history.reward, residuals)
    spread = dict(zip(model.parameters, errors.of(np.eye(len(model.parameters))).tolist(), strict=True))
    value = interval = None
    if end is not None:
        value = float(end.gradient @ np.array(list(model.parameters.values())))
        spread["ceiling"] = float(errors.of(end.gradient[None])[0])
        ceiling = Ceiling(value, spread["ceiling"], end.refit)
        interval = ceiling_interval(ceiling, fitted, residuals, dof=errors.dof, level=level)
    return Fit(
        name=model.name,
        formula=model.formula,
        parameters=model.parameters,
        standard_errors=spread,
        ceiling=value,
        ceiling_interval=interval,
        r2=r2,
        rmse=rmse,
        num_points=len(history),
        predict=model.curve,
        margin=lambda later: errors.margin(model.jacobian(later), level),
        note=note,
    )


def quality(reward: Values, residuals: Values) -> tuple[float, float]:
    """(r2, rmse) of a fit with these residuals.

    >>> quality(np.array([1.0, 3.0]), np.array([0.5, -0.5]))      # 1 - 0.5 / 2, root of 0.5 / 2
    (0.75, 0.5)
    """
    total = float(np.square(reward - reward.mean()).sum())
    left = float(np.square(residuals).sum())
    return 1 - left / total if total else float("nan"), float(np.sqrt(left / len(reward)))
