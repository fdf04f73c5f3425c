"""Forecasts beside each other, on runs and on parts of runs."""

import subprocess
import sys

import numpy as np
import pytest

from forkpoint import catalog
from forkpoint.forecasts import History, Refusal, backtest, compare, forecast, history_of
from forkpoint.record import RecordError, Run, RunWriter, open_run


def spending_run(num_points: int = 12) -> History:
    step = 20.0 * np.arange(num_points)
    entropy = 0.05 + 0.6 * np.exp(-step / 80)
    return History(step, entropy, 0.8 - 0.2 * np.exp(entropy))


@pytest.fixture
def record(tmp_path):
    def record(history: History, *, intervenes: bool = False, **changes: str) -> Run:
        names = {"entropy": "entropy/full_sequence_mean", "reward": "accuracy"} | changes
        method = {"name": "kl_cov" if intervenes else "grpo", "settings": {}, "intervenes": intervenes}
        about = {"name": "arm", "config": {}, "method": method, "task": "countdown", "seed": 0, "definitions": {}}
        with RunWriter.create(tmp_path / "run", **about, sync=False) as writer:
            writer.metrics("train", 1, {"accuracy": 0.0})
            for step, entropy, reward in zip(history.step, history.entropy, history.reward, strict=True):
                writer.metrics("eval", int(step), {names["entropy"]: entropy, names["reward"]: reward})
        return open_run(tmp_path / "run")

    return record


def test_the_law_comes_first_and_every_member_is_there():
    names = [fit.name for fit in compare(spending_run())]
    assert names[0] == "entropy_exchange" and sorted(names) == catalog.names("forecasts")


def test_a_run_is_forecast_from_its_evaluations(record):
    fits = forecast(record(spending_run()))
    assert fits[0].parameters == pytest.approx({"a": 0.2, "b": 0.8}) and fits[0].ceiling == pytest.approx(0.6)
    assert fits[0].num_points == 12


def test_history_takes_other_columns_and_only_steps_that_have_both(record):
    run = record(spending_run(), entropy="entropy/full", reward="pass@8")
    history = history_of(run, entropy="entropy/full", reward="pass@8")
    assert (history.entropy == spending_run().entropy).all() and (history.step == spending_run().step).all()
    with pytest.raises(RecordError, match=r"entropy/full_sequence_mean.*did you mean 'entropy/full'"):
        history_of(run)


def test_history_leaves_out_steps_that_lack_one_and_keeps_the_later_reading(tmp_path):
    method = {"name": "grpo", "settings": {}, "intervenes": False}
    with RunWriter.create(
        tmp_path / "run", name="n", config={}, method=method, task="t", seed=0, definitions={}, sync=False
    ) as writer:
        writer.metrics("eval", 0, {"accuracy": 0.1})
        writer.metrics("eval", 10, {"accuracy": 0.2, "entropy/full_sequence_mean": 0.5})
        writer.metrics("eval", 10, {"accuracy": 0.3, "entropy/full_sequence_mean": 0.4})
    history = history_of(open_run(tmp_path / "run"))
    assert (history.step, history.entropy, history.reward) == ([10], [0.4], [0.3])


def test_a_method_that_acts_on_entropy_is_refused_with_the_reason(record):
    run = record(spending_run(), intervenes=True)
    with pytest.raises(Refusal, match=r"arm: kl_cov acts on entropy, .* claimed only for training without") as caught:
        forecast(run)
    assert "\n" not in str(caught.value)
    assert forecast(run, anyway=True)[0].ceiling == pytest.approx(0.6)


def test_a_value_that_is_not_finite_is_named_by_step(record):
    for name, value in [("reward", np.nan), ("entropy", np.inf)]:
        history = spending_run()
        columns = {"step": history.step, "entropy": history.entropy.copy(), "reward": history.reward.copy()}
        columns[name][3] = value
        with pytest.raises(Refusal, match=f"{name} is {value} at step 60"):
            History(**columns)


def test_a_recorded_nan_is_refused_too(tmp_path):
    method = {"name": "grpo", "settings": {}, "intervenes": False}
    with RunWriter.create(
        tmp_path / "run", name="n", config={}, method=method, task="t", seed=0, definitions={}, sync=False
    ) as writer:
        for step in range(6):
            value = np.nan if step == 4 else 0.5 - 0.05 * step
            writer.metrics("eval", step, {"accuracy": 0.2, "entropy/full_sequence_mean": value})
    with pytest.raises(Refusal, match="entropy is nan at step 4"):
        forecast(open_run(tmp_path / "run"))


def test_histories_of_other_shapes_are_a_mistake():
    for step, entropy in [(np.arange(3.0), np.ones(4)), (np.ones((2, 2)), np.ones((2, 2)))]:
        with pytest.raises(ValueError, match="give one value each per evaluation"):
            History(step, entropy, np.ones(np.shape(entropy)))


def test_a_backtest_never_sees_what_it_predicts():
    """Rewards after the cut may be anything: fits and predictions stay, only errors change."""
    history = spending_run()
    changed = History(history.step, history.entropy, np.where(history.step < 80, history.reward, 9.0))
    one, two = backtest(history), backtest(changed)
    for before, after in zip(one.tests, two.tests, strict=True):
        assert before.fit.parameters == after.fit.parameters
        assert (before.fit.predict(one.rest) == after.fit.predict(two.rest)).all()
        assert after.rmse > 5 > before.rmse and after.covered == 0


def test_a_backtest_fits_a_third_but_at_least_four():
    for num_points, num_fitted in [(5, 4), (8, 4), (12, 4), (15, 5), (30, 10)]:
        tested = backtest(spending_run(num_points))
        assert (len(tested.fitted), len(tested.rest)) == (num_fitted, num_points - num_fitted)
        assert {test.fit.num_points for test in tested.tests} == {num_fitted}
    assert len(backtest(spending_run(12), share=0.5).fitted) == 6


def test_a_backtests_errors_worked_by_hand():
    """R = 1 - H exactly at the fitted four; then 0.1 above and 0.2 below the line: rmse sqrt(.05 / 2), last +0.2."""
    entropy = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    history = History(np.arange(6.0), entropy, 1 - entropy + np.array([0, 0, 0, 0, 0.1, -0.2]))
    line = next(test for test in backtest(history).tests if test.fit.name == "linear_entropy")
    assert line.rmse == pytest.approx(np.sqrt(0.05 / 2)) and line.final_error == pytest.approx(0.2)
    assert line.covered == 0


def test_a_backtest_works_where_no_ceiling_can_be_had():
    entropy = np.linspace(1.0, 0.9, 12)
    history = History(np.arange(12.0), entropy, 0.8 - 0.2 * np.exp(entropy))
    with pytest.raises(Refusal):
        compare(history)
    assert backtest(history).tests[0].rmse == pytest.approx(0, abs=1e-9)


def test_a_backtest_with_nothing_to_predict_is_refused():
    with pytest.raises(Refusal, match="fits 4 evaluations and predicts later ones; there are 4"):
        backtest(spending_run(4))
    with pytest.raises(ValueError, match="share is 1"):
        backtest(spending_run(), share=1.0)


def test_importing_forecasts_does_not_import_torch():
    code = "import sys, forkpoint.forecasts; forkpoint.forecasts.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
