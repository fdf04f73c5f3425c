"""Where a curve changes its slope: two lines that meet, against one; with an interval, and "nowhere" as an answer.

    y = a + b t + c max(0, t - k)

The break k is where the squared error is least (the profile of it is the search). Whether there is one is asked of the
largest F over all k by a parametric bootstrap (after Andrews 1993: with k unknown F does not have its usual
distribution), and the intervals of k and of both slopes are those of refits. Steps of a run follow each other, so the
noise of both bootstraps is an AR(1) with the residuals' own correlation: white noise would find breaks in every slow
wander.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

FEWEST = 20
"""points; fewer do not tell a bend from noise"""
MOST = 160
"""longer curves are averaged over neighbors to at most this many points"""
DRAWS = 400
LEVEL = 0.05
MARGIN = 0.1
"""share of the points at each end where no break is looked for"""


class ChangePoint(NamedTuple):
    """The break of a curve that has one."""

    step: float
    low: float
    high: float
    """95 % interval of the step"""
    before: float
    """slope per step before the break"""
    before_ends: tuple[float, float]
    """95 % interval of that slope"""
    after: float
    after_ends: tuple[float, float]
    p: float
    """share of straight lines with such noise that bend as much"""


class _Fit(NamedTuple):
    error: Float[ndarray, " R"]
    place: Float[ndarray, " R"]
    straight: Float[ndarray, " R"]
    """squared error of one line"""

    @property
    def f(self) -> Float[ndarray, " R"]:
        return (self.straight - self.error) / np.maximum(self.error, 1e-300)


def change_point(steps: Sequence[int], values: Sequence[float], seed: int = 0) -> ChangePoint | None:
    """The change of slope, or None: fewer than ``FEWEST`` finite points, or one line does as well (p >= ``LEVEL``).

    >>> found = change_point(range(40), [float(abs(t - 25)) for t in range(40)])
    >>> found.step, found.low, found.high, found.before, found.before_ends, found.after, found.p
    (25.0, 25.0, 25.0, -1.0, (-1.0, -1.0), 1.0, 0.0)
    >>> change_point(range(40), [0.5 * t for t in range(40)]) is None
    True
    """
    x, y = pooled(np.asarray(steps, dtype=float), np.asarray(values, dtype=float))
    if len(x) < FEWEST:
        return None
    rng, breaks = np.random.default_rng(seed), x[round(MARGIN * len(x)) : -round(MARGIN * len(x))]
    found = _fit(x, y[None], breaks)
    k = float(found.place[0])
    bent, straight = _fitted(x, y, k), _fitted(x, y, None)
    # exact lines leave rounding errors, which bend too
    if found.straight[0] < 1e-20 * max(1.0, float(y @ y)):
        return None
    drawn = noise(y - bent, rng, DRAWS)
    p = float((_fit(x, straight + drawn, breaks).f >= found.f[0]).mean())
    if p >= LEVEL:
        return None
    again = _fit(x, bent + drawn, breaks).place
    low, high = np.percentile(again, [2.5, 97.5])
    # points that stand for several steps know the break no better than to half their distance
    width = float(x[1] - x[0]) / 2 if len(x) < np.isfinite(np.asarray(values, dtype=float)).sum() else 0.0
    (before,), (after,) = np.round(_slopes(x, y[None], found.place), 12).tolist()
    before_ends, after_ends = (_middle(slopes) for slopes in _slopes(x, bent + drawn, again))
    return ChangePoint(k, float(low) - width, float(high) + width, before, before_ends, after, after_ends, p)


def _middle(slopes: Float[ndarray, " R"]) -> tuple[float, float]:
    low, high = np.percentile(slopes, [2.5, 97.5])
    return round(float(low), 12), round(float(high), 12)


def pooled(x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> tuple[Float[ndarray, " m"], Float[ndarray, " m"]]:
    """Finite points, neighbors averaged."""
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    parts = np.array_split(np.arange(len(x)), min(len(x), MOST)) if len(x) else []
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])


def _columns(x: Float[ndarray, " n"], k: float | None) -> Float[ndarray, "n p"]:
    line = [np.ones_like(x), x]
    return np.stack(line if k is None else [*line, np.maximum(0, x - k)], axis=1)


def _fitted(x: Float[ndarray, " n"], y: Float[ndarray, " n"], k: float | None) -> Float[ndarray, " n"]:
    columns = _columns(x, k)
    return columns @ np.linalg.lstsq(columns, y, rcond=None)[0]


def _fit(x: Float[ndarray, " n"], curves: Float[ndarray, "R n"], breaks: Float[ndarray, " K"]) -> _Fit:
    """The best break of every curve: what a hinge explains of what a line leaves (Frisch & Waugh 1933)."""
    basis = np.linalg.qr(_columns(x, None))[0]

    def beyond_a_line(rows: Float[ndarray, "M n"]) -> Float[ndarray, "M n"]:
        rows = rows - rows.mean(1, keepdims=True)  # else squares of a high level drown the errors
        return rows - rows @ basis @ basis.T

    left, hinges = beyond_a_line(curves), beyond_a_line(np.maximum(0, x - breaks[:, None]))
    explained = (left @ hinges.T) ** 2 / (hinges**2).sum(1)
    straight = (left**2).sum(1)
    return _Fit(np.maximum(straight - explained.max(1), 0), breaks[explained.argmax(1)], straight)


def _slopes(
    x: Float[ndarray, " n"], curves: Float[ndarray, "R n"], places: Float[ndarray, " R"]
) -> Float[ndarray, "2 R"]:
    """Slopes before and after each curve's own break."""
    found = np.empty((2, len(curves)))
    for k in np.unique(places):
        at = places == k
        _, before, change = np.linalg.lstsq(_columns(x, k), curves[at].T, rcond=None)[0]
        found[:, at] = before, before + change
    return found


def noise(residual: Float[ndarray, " n"], rng: np.random.Generator, num: int) -> Float[ndarray, "R n"]:
    """AR(1) curves with the residuals' variance and correlation of neighbors."""
    rho = float(correlation(residual[None])[0])
    deviation = float(np.sqrt(residual @ residual / max(len(residual) - 4, 1)))
    fresh = rng.normal(0, deviation, (num, len(residual)))
    drawn = fresh.copy()
    for t in range(1, len(residual)):
        drawn[:, t] = rho * drawn[:, t - 1] + np.sqrt(1 - rho**2) * fresh[:, t]
    return drawn


def correlation(residuals: Float[ndarray, "R n"]) -> Float[ndarray, " R"]:
    """Of neighbors, within 0 and .95."""
    of_neighbors = (residuals[:, :-1] * residuals[:, 1:]).sum(1)
    return np.clip(of_neighbors / np.maximum((residuals**2).sum(1), 1e-300), 0.0, 0.95)
