"""The time baseline on curves whose answer is known."""

import numpy as np
import pytest

from forkpoint.forecasts import History, Refusal
from forkpoint.forecasts.saturating_step import saturating_step


def curve(step: np.ndarray, tau: float, seed: int | None = None) -> History:
    reward = 0.2 + 0.3 * (1 - np.exp(-(step - step[0]) / tau))
    if seed is not None:
        reward = reward + 0.002 * np.random.default_rng(seed).normal(size=len(step))
    return History(step, np.ones(len(step)), reward)


@pytest.mark.parametrize("tau", [8.0, 40.0, 150.0, 600.0])
def test_it_finds_fast_and_slow_time_constants(tau):
    fit = saturating_step(curve(np.linspace(0.0, 300.0, 16), tau))
    assert fit.parameters == pytest.approx({"R0": 0.2, "Rmax": 0.5, "tau": tau}, rel=1e-3)


def test_time_counts_from_the_first_evaluation():
    early, late = (saturating_step(curve(np.linspace(0.0, 200.0, 10) + start, 50.0)) for start in (0.0, 10_000.0))
    assert late.parameters == pytest.approx(dict(early.parameters), rel=1e-6)


def test_reward_that_still_rises_in_a_straight_line_has_no_ceiling():
    step = np.linspace(0.0, 100.0, 9)
    fit = saturating_step(History(step, np.ones(9), 0.2 + 0.001 * step))
    assert fit.ceiling is None and fit.ceiling_interval is None and fit.note == "reward does not level off yet"
    assert fit.predict(History(np.array([50.0]), np.ones(1), np.zeros(1))) == pytest.approx(0.25, abs=1e-3)


def test_reward_that_falls_ends_at_a_floor():
    step = np.linspace(0.0, 200.0, 12)
    fit = saturating_step(History(step, np.ones(12), 0.5 - 0.3 * (1 - np.exp(-step / 40))))
    assert fit.ceiling == pytest.approx(0.2, abs=1e-5)


def test_its_errors_match_the_spread_over_repeated_runs():
    """Linearized errors are honest here: the spread of Rmax over 80 noisy runs, within a fifth."""
    step = np.linspace(0.0, 200.0, 15)
    fits = [saturating_step(curve(step, 50.0, seed)) for seed in range(80)]
    spread = np.std([fit.parameters["Rmax"] for fit in fits])
    assert np.median([fit.standard_errors["Rmax"] for fit in fits]) == pytest.approx(spread, rel=0.2)


def test_evaluations_that_share_steps_are_refused():
    step = np.array([0.0, 0.0, 10.0, 10.0, 20.0])
    with pytest.raises(Refusal, match="four steps and has 3"):
        saturating_step(History(step, np.ones(5), step))
