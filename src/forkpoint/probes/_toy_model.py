"""When more thinking only adds variance: the toy model of arXiv:2506.04210, and its least-squares fit.

Reward follows N(mu_r, s_r^2), the answers N(mu, v), v the policy's variance and d = mu_r - mu:

    E[r] = (2 pi (s_r^2 + v))^-1/2 exp(-d^2 / (2 (s_r^2 + v)))     largest at v = d^2 - s_r^2, where that is positive

More variance first covers the right answer and then dilutes it. The fit adds a scale, since accuracy is no density.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS = 61
"""values per parameter and round of the grid search"""
ROUNDS = 12
ENOUGH = 4
"""different variances that three parameters need at least"""


class Inflation(NamedTuple):
    """The fitted curve scale * E[r](v)."""

    scale: float
    gap: float
    """|mu_r - mu|"""
    reward_deviation: float
    """s_r"""
    peak: float
    """variance at which accuracy is highest; nan where the points do not show one"""
    rmse: float
    note: str
    """why the parameters are not identified; empty where they are"""


def expected_reward(
    gap: float, reward_variance: float, variance: NDArray[np.float64] | float
) -> NDArray[np.float64] | float:
    """E[r] at a policy's variance.

    >>> round(float(expected_reward(2.0, 0.25, 1.936492**2)), 6)
    0.120985
    """
    total = reward_variance + np.asarray(variance)
    return np.exp(-(gap**2) / (2 * total)) / np.sqrt(2 * math.pi * total)


def best_variance(gap: float, reward_variance: float) -> float:
    """d^2 - s_r^2, or 0 where every variance only hurts.

    >>> round(best_variance(2.0, 0.25) ** 0.5, 6)               # d = 2, s_r = 0.5: sqrt(4 - 0.25)
    1.936492
    """
    return max(0.0, gap**2 - reward_variance)


def gaussian_variance(entropy: float) -> float:
    """exp(2 H) / (2 pi e): the variance of a Gaussian with H nats; answers are discrete, so a scale and no measurement.

    >>> round(gaussian_variance(0.5 * math.log(2 * math.pi * math.e * 9)), 6)
    9.0
    """
    return math.exp(2 * entropy) / (2 * math.pi * math.e)


def fit(variance: Sequence[float], accuracy: Sequence[float]) -> Inflation:
    """Least squares of accuracy over (scale, d, s_r) by a grid that closes in, the scale in closed form.

    The points must show the peak: four or more different variances, and the fitted peak strictly inside their range.
    Otherwise a rising or falling line fits as well, ``peak`` is nan and ``note`` says so. Raises ValueError for numbers
    that are not finite, variances below 0, or columns of two lengths.

    >>> v = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    >>> found = fit(v, [4.0 * expected_reward(2.0, 0.25, each) for each in v])
    >>> round(found.scale, 2), round(found.gap, 2), round(found.reward_deviation, 2), round(found.peak, 2), found.note
    (4.0, 2.0, 0.5, 3.75, '')
    """
    x, y = np.array(variance, dtype=float), np.array(accuracy, dtype=float)
    if x.shape != y.shape or not np.isfinite([x, y]).all() or (x < 0).any():
        raise ValueError("variance inflation: give as many accuracies as variances, all finite, no variance below 0")
    if len(np.unique(x)) < ENOUGH:
        note = f"not identified: {len(np.unique(x))} different variances, and the curve needs {ENOUGH} or more"
        return Inflation(math.nan, math.nan, math.nan, math.nan, math.nan, note)
    scale, gap_squared, offset = _closing_in(x, y)
    error = y - scale * expected_reward(math.sqrt(gap_squared), offset, x)
    peak, note = gap_squared - offset, ""
    if not x.min() < peak < x.max():
        peak, note = math.nan, "not identified: accuracy has no peak inside the range of the variances"
    return Inflation(scale, math.sqrt(gap_squared), math.sqrt(offset), peak, float(np.sqrt((error**2).mean())), note)


def _closing_in(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """(scale, d^2, s_r^2) of least squared error: each round looks closer around the best so far, in logarithms."""
    top = math.log(10 * x.max())
    center, width = np.array([top - 4, top - 4]), 8.0
    for _ in range(ROUNDS):
        gaps, offsets = np.meshgrid(*(np.exp(np.linspace(c - width, c + width, STEPS)) for c in center))
        total = offsets[..., None] + x
        curve = np.exp(-gaps[..., None] / (2 * total)) / np.sqrt(2 * math.pi * total)
        scale = (curve @ y) / np.maximum((curve**2).sum(-1), 1e-300)
        error = ((y - scale[..., None] * curve) ** 2).sum(-1)
        at = np.unravel_index(np.argmin(error), error.shape)
        center, width = np.log([gaps[at], offsets[at]]), width / 3
    return float(scale[at]), float(np.exp(center[0])), float(np.exp(center[1]))
