"""Baseline: reward levels off with training time, whatever entropy does (definition; a first-order step response).

R = R0 + (Rmax - R0) (1 - exp(-t / tau)), with t the optimizer steps since the first evaluation.
"""

import numpy as np

from forkpoint.forecasts._build import End, Model, build
from forkpoint.forecasts._fit import Fit, History, Refusal, Values, check_points

FORMULA = "R = R0 + (Rmax - R0) (1 - exp(-t / tau))"
GRID = 160
LONGEST = 10.0
"""longest tau, in lengths of the run; a curve that slow is a straight line so far, and its end is anyone's guess"""


def saturating_step(history: History, *, level: float = 0.95, ceiling: bool = True) -> Fit:
    """Least squares over tau on a logarithmic grid, refined; R0 and Rmax in closed form for each tau. Ceiling Rmax.

    There is no ceiling, and ``note`` says so, where the best tau is the longest: the curve does not bend yet.
    Refuses fewer than four points, or fewer than four different steps.

    >>> t = np.array([0.0, 50.0, 100.0, 200.0, 400.0])
    >>> fit = saturating_step(History(t, np.ones(5), 0.6 - 0.4 * np.exp(-t / 100)))
    >>> {name: round(value, 2) for name, value in fit.parameters.items()}
    {'R0': 0.2, 'Rmax': 0.6, 'tau': 100.0}
    """
    check_points(history, "saturating_step", level)
    start = float(history.step[0])
    time = history.step - start
    taus = _grid(time)
    tau = _best_tau(time, history.reward, taus)
    first, limit = (float(end[0]) for end in _ends(np.array([tau]), time, history.reward[None]))
    model = Model(
        "saturating_step",
        FORMULA,
        {"R0": first, "Rmax": limit, "tau": tau},
        curve=lambda later: limit - (limit - first) * np.exp(-(later.step - start) / tau),
        jacobian=lambda later: _jacobian(later.step - start, first, limit, tau),
    )
    end = End(np.array([0.0, 1.0, 0.0]), refit=lambda rewards: _ceilings(time, rewards, taus))
    bends = tau < float(taus[-1])
    note = "reward does not level off yet" if not bends else "" if ceiling else "none asked for"
    return build(model, history, level=level, end=end if ceiling and bends else None, note=note)


def _grid(time: Values) -> Values:
    gaps = np.diff(np.unique(time))
    if len(gaps) < 3:
        raise Refusal(f"saturating_step needs evaluations at four steps and has {len(gaps) + 1}; evaluate more often")
    # exp(-5): a rise that is over before the second evaluation looks the same however fast it was
    return _geometric(float(gaps.min()) / 5, LONGEST * float(time[-1]))


def _geometric(low: float, high: float) -> Values:
    return low * (high / low) ** np.linspace(0.0, 1.0, GRID)


def _best_tau(time: Values, reward: Values, taus: Values) -> float:
    """The grid, then two finer ones between the best one's neighbors."""
    last = len(taus) - 1
    best = int(_misfit(time, reward[None], taus).argmin())
    for _ in range(2):
        if best == last:
            break
        taus = _geometric(float(taus[max(best - 1, 0)]), float(taus[best + 1]))
        best = int(_misfit(time, reward[None], taus).argmin())
    return float(taus[best])


def _misfit(time: Values, rewards: Values, taus: Values) -> Values:
    """Squared residual of each row of rewards at each tau, with the other two parameters at their best, (R, G)."""
    decay = np.exp(-time / taus[:, None])
    decay -= decay.mean(axis=1, keepdims=True)
    centered = rewards - rewards.mean(axis=1, keepdims=True)
    explained = np.square(centered @ decay.T) / np.square(decay).sum(axis=1)
    return np.square(centered).sum(axis=1, keepdims=True) - explained


def _ceilings(time: Values, rewards: Values, taus: Values) -> Values:
    return _ends(taus[_misfit(time, rewards, taus).argmin(axis=1)], time, rewards)[1]


def _ends(taus: Values, time: Values, rewards: Values) -> tuple[Values, Values]:
    """(R0, Rmax) of each row of rewards at its tau: a straight line in exp(-t / tau), at 1 and at 0."""
    decay = np.exp(-time / taus[:, None])
    middle = decay.mean(axis=1)
    centered = decay - middle[:, None]
    slope = (rewards * centered).sum(axis=1) / np.square(centered).sum(axis=1)
    limit = rewards.mean(axis=1) - slope * middle
    return limit + slope, limit


def _jacobian(time: Values, first: float, limit: float, tau: float) -> Values:
    decay = np.exp(-time / tau)
    return np.stack([decay, 1 - decay, -(limit - first) * decay * time / tau**2], axis=1)
