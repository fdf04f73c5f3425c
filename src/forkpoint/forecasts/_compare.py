"""The law beside its baselines: on all of a run, and on the part it had not seen."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forkpoint import catalog
from forkpoint.forecasts._fit import FEWEST, Fit, History, Refusal
from forkpoint.record import RecordError, Run

LAW = "entropy_exchange"


class Tested(NamedTuple):
    """How one forecast did on evaluations it was not fitted to."""

    fit: Fit
    rmse: float
    """root of the mean squared error over all of them"""
    final_error: float
    """predicted minus actual at the last"""
    covered: float
    """share of them inside the fit's interval for new evaluations"""


@dataclass(frozen=True)
class Backtest:
    """Forecasts fitted to the first part of a run and held against the rest, the law first."""

    fitted: History
    rest: History
    tests: list[Tested]


def compare(history: History, *, level: float = 0.95) -> list[Fit]:
    """Every forecast of the folder on all points, the law first. Raises the Refusal of the first that declines."""
    return [catalog.get("forecasts", name)(history, level=level) for name in _law_first()]


def backtest(history: History, *, share: float = 1 / 3, level: float = 0.95) -> Backtest:
    """Fit on the first ``share`` of the points, at least four; predict the rest from the entropies and steps that came.

    It asks how well reward follows from entropy, not whether entropy itself could have been foreseen, and it needs no
    ceiling, so it also works where too little entropy was spent to extrapolate one.
    Refuses a history that leaves nothing to predict.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; give a number between 0 and 1, such as 1/3")
    num_fitted = max(FEWEST, round(share * len(history)))
    if len(history) <= num_fitted:
        raise Refusal(f"a backtest fits {num_fitted} evaluations and predicts later ones; there are {len(history)}")
    first, rest = history.part(slice(num_fitted)), history.part(slice(num_fitted, None))
    fits = [catalog.get("forecasts", name)(first, level=level, ceiling=False) for name in _law_first()]
    return Backtest(first, rest, [_test(fit, rest) for fit in fits])


def history_of(
    run: Run, *, reward: str = "accuracy", entropy: str = "entropy/full_sequence_mean", kind: str = "eval"
) -> History:
    """A run's readings that have both columns; where a step was read twice, the later reading counts.

    Raises RecordError where there are no such readings, or naming the nearest column where one is absent.
    """
    if not run.metrics(kind):
        remedy = "a forecast reads held-out evaluations; train with some"
        raise RecordError(f"holds no {kind} readings", file=run.path, remedy=remedy)
    entropies, rewards = (dict(zip(*run.column(key, kind), strict=True)) for key in (entropy, reward))
    steps = sorted(entropies.keys() & rewards.keys())
    values = [[float(column[step]) for step in steps] for column in (entropies, rewards)]
    return History(np.array(steps, dtype=np.float64), np.array(values[0]), np.array(values[1]))


def forecast(run: Run, *, anyway: bool = False, level: float = 0.95) -> list[Fit]:
    """``compare`` on a run's evaluations.

    Refuses a run whose method acts on entropy, where the law is not claimed, unless told to go on ``anyway``.
    """
    method = run.header["method"]
    if method.get("intervenes") and not anyway:
        raise Refusal(
            f"{run.name}: {method.get('name')} acts on entropy, and R = b - a exp(H) is claimed only for training"
            " without entropy or KL terms; forkpoint forecast --anyway fits it all the same"
        )
    return compare(history_of(run), level=level)


def _law_first() -> list[str]:
    return sorted(catalog.names("forecasts"), key=lambda name: (name != LAW, name))


def _test(fit: Fit, rest: History) -> Tested:
    errors = fit.predict(rest) - rest.reward
    inside = np.abs(errors) <= fit.margin(rest)
    return Tested(fit, float(np.sqrt(np.mean(errors**2))), float(errors[-1]), float(inside.mean()))
