"""What holds for every forecast of the folder, so that one more file is tested by being there."""

import inspect
from typing import Any

import numpy as np
import pytest

from forkpoint import catalog
from forkpoint.forecasts import Fit, History, Refusal

NAMES = catalog.names("forecasts")
every_forecast = pytest.mark.parametrize("name", NAMES)


def run(num_points: int = 12, *, noise: float = 0.002, seed: int = 0) -> History:
    """A run that spends most of its entropy while reward levels off: every forecast can be fitted to it."""
    step = np.linspace(0.0, 220.0, num_points)
    entropy = 0.04 + 0.5 * np.exp(-step / 60)
    wobble = np.random.default_rng(seed).normal(size=(2, num_points))
    entropy = entropy * (1 + 0.01 * wobble[0])
    return History(step, entropy, 0.6 - 0.2 * np.exp(entropy) + noise * wobble[1])


def fit(name: str, history: History, **options: Any) -> Fit:
    return catalog.get("forecasts", name)(history, **options)


def world_of(name: str) -> tuple[History, Fit]:
    """A history without noise that the forecast itself made, and what it should find there."""
    history = run()
    truth = fit(name, history)
    return History(history.step, history.entropy, truth.predict(history)), truth


@every_forecast
def test_it_recovers_what_it_made_itself(name):
    history, truth = world_of(name)
    found = fit(name, history)
    assert found.parameters.keys() == truth.parameters.keys()
    for key, value in truth.parameters.items():
        assert found.parameters[key] == pytest.approx(value, rel=1e-3)
    assert found.ceiling == pytest.approx(truth.ceiling, abs=1e-5)
    assert found.r2 == pytest.approx(1) and found.rmse < 1e-6 and found.num_points == 12


@every_forecast
def test_its_interval_holds_the_truth_as_often_as_it_says(name):
    """One that holds 95 % of the time holds fewer than 85 of 100 less than once in ten thousand tests."""
    history, truth = world_of(name)
    held = 0
    for seed in range(100):
        noise = 0.005 * np.random.default_rng(seed).normal(size=len(history))
        interval = fit(name, History(history.step, history.entropy, history.reward + noise)).ceiling_interval
        assert interval is not None and truth.ceiling is not None
        held += interval.low <= truth.ceiling <= interval.high
    assert 85 <= held < 100, "an interval that never misses is wider than it says"


@every_forecast
def test_new_evaluations_fall_inside_its_margin_as_often_as_it_says(name):
    history, _ = world_of(name)
    first, rest = history.part(slice(8)), history.part(slice(8, None))
    inside = []
    for seed in range(100):
        noise = 0.005 * np.random.default_rng(seed).normal(size=len(history))
        found = fit(name, History(first.step, first.entropy, first.reward + noise[:8]), ceiling=False)
        inside.append(np.abs(found.predict(rest) - rest.reward - noise[8:]) <= found.margin(rest))
    assert 0.85 <= np.mean(inside) < 1


@every_forecast
def test_a_higher_level_gives_a_wider_interval(name):
    low, high = (fit(name, run(), level=level).ceiling_interval for level in (0.5, 0.99))
    assert low is not None and high is not None
    assert high.low < low.low < low.high < high.high and (low.level, high.level) == (0.5, 0.99)


@every_forecast
def test_its_numbers_are_finite_and_the_same_each_time(name):
    history = run()
    one, two = fit(name, history), fit(name, history)
    assert one.ceiling_interval == two.ceiling_interval and one.parameters == two.parameters
    assert np.isfinite(one.predict(history)).all() and (one.margin(history) > 0).all()
    assert one.ceiling is not None and one.ceiling_interval is not None
    assert one.ceiling_interval.low < one.ceiling < one.ceiling_interval.high
    assert {*one.parameters, "ceiling"} == set(one.standard_errors)
    assert one.formula.startswith("R = ") and one.name == name and one.note == ""


@every_forecast
def test_the_order_in_which_points_are_given_does_not_matter(name):
    history = run()
    mixed = np.random.default_rng(1).permutation(len(history))
    found = fit(name, History(history.step[mixed], history.entropy[mixed], history.reward[mixed]))
    straight = fit(name, history)
    assert found.parameters == straight.parameters and found.ceiling_interval == straight.ceiling_interval


@every_forecast
def test_its_prediction_ignores_the_rewards_it_is_shown(name):
    history = run()
    blind = History(history.step, history.entropy, np.zeros(len(history)))
    found = fit(name, history)
    assert (found.predict(blind) == found.predict(history)).all() and (
        found.margin(blind) == found.margin(history)
    ).all()


@every_forecast
def test_scaling_reward_scales_the_forecast(name):
    """Accuracy as a share or in percent: the same forecast in other units."""
    history = run()
    share, percent = fit(name, history), fit(name, History(history.step, history.entropy, 100 * history.reward))
    assert share.ceiling is not None and share.ceiling_interval is not None and percent.ceiling_interval is not None
    assert percent.ceiling == pytest.approx(100 * share.ceiling)
    assert percent.ceiling_interval[:2] == pytest.approx([100 * end for end in share.ceiling_interval[:2]])
    assert percent.r2 == pytest.approx(share.r2) and percent.rmse == pytest.approx(100 * share.rmse)


@every_forecast
def test_without_a_ceiling_the_fit_is_the_same_and_says_why(name):
    with_it, without = fit(name, run()), fit(name, run(), ceiling=False)
    assert without.parameters == with_it.parameters and without.rmse == with_it.rmse
    assert without.ceiling is None and without.ceiling_interval is None and without.note
    assert "ceiling" not in without.standard_errors


@every_forecast
def test_it_refuses_fewer_than_four_points(name):
    for num_points in range(4):
        with pytest.raises(Refusal, match=f"at least 4 evaluations and has {num_points}") as caught:
            fit(name, run(12).part(slice(num_points)))
        assert "\n" not in str(caught.value)
    assert fit(name, run(4)).num_points == 4


@every_forecast
def test_it_refuses_a_level_that_is_no_probability(name):
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="give a number between 0 and 1"):
            fit(name, run(), level=level)


@every_forecast
def test_a_constant_reward_is_its_own_ceiling(name):
    history = run()
    found = fit(name, History(history.step, history.entropy, np.full(len(history), 0.25)))
    assert found.rmse == pytest.approx(0, abs=1e-12)
    assert found.ceiling is None or found.ceiling == pytest.approx(0.25)
    assert np.isnan(found.r2), "no variance, so no share of it"


@every_forecast
def test_it_names_its_source_and_keeps_the_contract(name):
    member = catalog.get("forecasts", name)
    defaults = {key: p.default for key, p in inspect.signature(member).parameters.items()}
    assert defaults == {"history": inspect.Parameter.empty, "level": 0.95, "ceiling": True}
    doc = catalog.docstring("forecasts", name)
    assert "arXiv:" in doc or "(definition" in doc
    assert "R = " in doc
