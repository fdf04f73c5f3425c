"""Student's t, the block bootstrap, and how far the intervals can be trusted."""

import numpy as np
import pytest

from forkpoint.forecasts import History
from forkpoint.forecasts._interval import blocks, least_squares_errors, student_t
from forkpoint.forecasts.entropy_exchange import entropy_exchange


@pytest.mark.parametrize(
    ("level", "dof", "t"),
    [
        # printed tables, two-sided
        (0.95, 1, 12.70620474),
        (0.95, 2, 4.30265273),
        (0.95, 3, 3.18244631),
        (0.95, 4, 2.77644511),
        (0.95, 6, 2.44691185),
        (0.95, 10, 2.22813885),
        (0.95, 30, 2.04227246),
        (0.95, 120, 1.97993041),
        (0.99, 1, 63.65674116),
        (0.99, 5, 4.03214298),
        (0.90, 7, 1.89457861),
        (0.50, 1, 1.0),  # a Cauchy variable is between -1 and 1 half the time
        (0.50, 2, 0.81649658),  # sqrt(2 / 3)
        (0.95, 100_000, 1.95998),
    ],
)
def test_student_t_agrees_with_the_tables(level, dof, t):
    assert student_t(level, dof) == pytest.approx(t, abs=2e-5 if dof > 1000 else 1e-8 * max(1, t))


def test_student_t_falls_with_dof_and_rises_with_level():
    by_dof = [student_t(0.95, dof) for dof in range(1, 60)]
    by_level = [student_t(level, 5) for level in np.linspace(0.05, 0.999, 40)]
    assert (np.diff(by_dof) < 0).all() and (np.diff(by_level) > 0).all()


def test_errors_are_those_of_a_mean():
    """One constant parameter: its standard error is s / sqrt(N)."""
    errors = least_squares_errors(np.ones((5, 1)), np.array([1.0, -1.0, 2.0, -2.0, 0.0]))
    assert (errors.noise, errors.dof) == (pytest.approx(np.sqrt(10 / 4)), 4)
    assert errors.of(np.ones((1, 1))) == pytest.approx(np.sqrt(10 / 4 / 5))


def test_blocks_are_runs_of_neighbors():
    """Residuals that rise by 1 show where each came from: inside a block of three, place i + 1 follows place i."""
    drawn = blocks(np.arange(27.0), 200)
    windows = np.stack([np.arange(27.0)[i : i + 25] for i in range(3)], axis=1)
    inside = drawn.reshape(200, 9, 3) + windows.mean(axis=0)
    assert drawn.shape == (200, 27) and (np.diff(inside, axis=2) == 1).all()
    assert len(np.unique(inside[:, :, 0])) == 25, "every place can begin a block"


def test_blocks_keep_autocorrelation_and_have_no_drift():
    noise = np.random.default_rng(0).normal(size=402)
    residuals = noise[2:] + noise[1:-1] + noise[:-2]
    drawn = blocks(residuals, 400)
    kept = np.mean(drawn[:, :-1] * drawn[:, 1:]) / np.mean(drawn**2)
    whole = np.mean(residuals[:-1] * residuals[1:]) / np.mean(residuals**2)
    assert 0.75 * whole < kept <= whole
    assert np.abs(drawn.mean(axis=0)).max() < 5 * residuals.std() / np.sqrt(400)


def test_the_interval_is_never_narrower_than_student_t():
    entropy = 0.05 + 0.5 * np.exp(-np.linspace(0, 4, 12))
    wider = np.zeros(2)
    for seed in range(30):
        noise = 0.01 * np.random.default_rng(seed).normal(size=12)
        fit = entropy_exchange(History(np.arange(12.0), entropy, 0.7 - 0.3 * np.exp(entropy) + noise))
        assert fit.ceiling is not None and fit.ceiling_interval is not None
        half = student_t(0.95, 10) * fit.standard_errors["ceiling"]
        beyond = np.array([fit.ceiling - fit.ceiling_interval.low, fit.ceiling_interval.high - fit.ceiling]) - half
        assert (beyond >= -1e-12).all()
        wider += beyond > 1e-6
    assert (wider > 3).all(), "and at times the bootstrap widens it, on either side"


def coverage(correlation: float) -> float:
    """Share of 200 runs of 12 evaluations whose interval holds the true ceiling, 0.4."""
    entropy = 0.05 + 0.5 * np.exp(-np.linspace(0, 4, 12))
    held = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(size=12)
        for i in range(1, 12):
            noise[i] = correlation * noise[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
        interval = entropy_exchange(History(np.arange(12.0), entropy, 0.7 - 0.3 * np.exp(entropy) + 0.01 * noise))
        assert interval.ceiling_interval is not None
        held += interval.ceiling_interval.low <= 0.4 <= interval.ceiling_interval.high
    return held / 200


def test_the_intervals_limits_are_as_documented():
    assert 0.91 <= coverage(0.0) <= 0.98
    assert 0.70 <= coverage(0.5) <= 0.90, "neighbors that err alike: narrower than stated, and said so"
