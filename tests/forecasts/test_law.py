"""The law's numbers, against vectors computed with other programs and formulas worked by hand."""

import numpy as np
import pytest

from forkpoint.forecasts import History, Refusal, backtest
from forkpoint.forecasts.entropy_exchange import entropy_exchange
from forkpoint.forecasts.linear_entropy import linear_entropy

ENTROPY = np.array([0.60, 0.45, 0.30, 0.20, 0.12, 0.08, 0.05, 0.03])
REWARD = np.array([0.236, 0.285, 0.316, 0.334, 0.349, 0.360, 0.363, 0.371])
CHECK = History(np.arange(8.0), ENTROPY, REWARD)


def test_the_check_vector():
    """Least squares of these eight points, computed once with an independent program to eight digits."""
    fit = entropy_exchange(CHECK)
    assert fit.parameters["a"] == pytest.approx(0.16317183, abs=5e-9)
    assert fit.parameters["b"] == pytest.approx(0.53589962, abs=5e-9)
    assert fit.ceiling == pytest.approx(0.37272779, abs=5e-9)
    assert fit.rmse == pytest.approx(0.00274453, abs=5e-9)


def test_the_check_vector_fitted_on_its_first_half():
    tested = backtest(CHECK).tests[0]
    assert tested.fit.name == "entropy_exchange" and tested.fit.num_points == 4
    assert tested.fit.parameters["a"] == pytest.approx(0.16229344, abs=5e-9)
    assert tested.fit.parameters["b"] == pytest.approx(0.5346359, abs=5e-8)
    assert tested.rmse == pytest.approx(0.00236691, abs=5e-9)
    assert tested.final_error == pytest.approx(-0.00360011, abs=5e-9)


@pytest.mark.parametrize(
    ("low", "high", "correlation", "a", "b", "ceiling"),
    [
        (0.3, 0.6, 0.9954, 2.19, 3.46, 1.30),
        (0.02, 0.6, 0.9831, 1.29, 1.82, 0.60),
        (0.02, 0.1, 0.9997, 12.2, 12.9, 0.83),
    ],
)
def test_a_and_b_are_poorly_known_and_their_difference_well(low, high, correlation, a, b, ceiling):
    """Standard errors over the noise of one evaluation, nine evenly spread entropies: they depend on those alone."""
    entropy = np.linspace(low, high, 9)
    reward = 0.5 - 0.2 * np.exp(entropy) + 0.01 * np.random.default_rng(0).normal(size=9)
    fit = entropy_exchange(History(np.arange(9.0), entropy, reward))
    noise = fit.rmse * np.sqrt(9 / 7)
    errors = {name: error / noise for name, error in fit.standard_errors.items()}
    assert errors["a"] == pytest.approx(a, abs=0.05) and errors["b"] == pytest.approx(b, abs=0.05)
    assert errors["ceiling"] == pytest.approx(ceiling, abs=0.005)
    # var(b - a) = var a + var b - 2 cov
    covariance = (errors["a"] ** 2 + errors["b"] ** 2 - errors["ceiling"] ** 2) / 2
    assert covariance / errors["a"] / errors["b"] == pytest.approx(correlation, abs=5e-5)


def test_the_line_through_four_points_worked_by_hand():
    """H 0, 1, 2, 3 and R 6, 4, 4, 2: slope -12 / 10, mean 4; residuals .2, -.6, .6, -.2, so s^2 = .8 / 2."""
    fit = linear_entropy(History(np.arange(4.0), np.arange(4.0), np.array([6.0, 4.0, 4.0, 2.0])))
    assert fit.parameters == pytest.approx({"d": 1.2, "c": 5.8}) and fit.ceiling == pytest.approx(5.8)
    assert fit.rmse == pytest.approx(np.sqrt(0.8 / 4)) and fit.r2 == pytest.approx(1 - 0.8 / 8)
    # var d = s^2 / 5; var c = s^2 (1 / 4 + 1.5^2 / 5)
    assert fit.standard_errors == pytest.approx({"d": np.sqrt(0.08), "c": np.sqrt(0.28), "ceiling": np.sqrt(0.28)})
    # t(0.95, 2) = 4.30265
    assert fit.ceiling_interval is not None
    assert fit.ceiling_interval.high == pytest.approx(5.8 + 4.302653 * np.sqrt(0.28), abs=1e-6)
    # a new evaluation at H = 1.5 adds its own noise: s^2 (1 + 1 / 4)
    middle = History(np.zeros(1), np.array([1.5]), np.zeros(1))
    assert fit.margin(middle) == pytest.approx(4.302653 * np.sqrt(0.5), abs=1e-6)


def test_the_law_fits_its_own_curve_better_than_a_line_does():
    entropy = np.linspace(1.4, 0.1, 12)
    history = History(np.arange(12.0), entropy, 0.6 - 0.1 * np.exp(entropy))
    assert entropy_exchange(history).rmse < 1e-12 < 0.005 < linear_entropy(history).rmse


@pytest.mark.parametrize(("member", "gone"), [(linear_entropy, "15%"), (entropy_exchange, "17%")])
def test_entropy_that_hardly_moved_gives_no_ceiling(member, gone):
    """From 0.3 to 0.255 nats: 15 % in H, and (e^.3 - e^.255) / (e^.3 - 1) = 17 % in exp(H)."""
    step, reward = np.arange(9.0), 0.4 + 0.01 * np.random.default_rng(0).normal(size=9)
    little, enough = (History(step, 0.3 - 0.3 * spent * step / 8, reward) for spent in (0.15, 0.25))
    with pytest.raises(Refusal, match=f"entropy has gone {gone} of the way to zero and a ceiling needs 20%"):
        member(little)
    assert member(little, ceiling=False).ceiling is None
    assert member(enough).ceiling is not None


def test_at_the_limit_a_ceiling_is_worth_a_fifth_of_an_evaluation():
    """The docstring's 4.7: sqrt(1 / 9 + 4.5^2 / 0.9375), for nine points evenly spread over a fifth of the way."""
    reward = 0.4 + 0.01 * np.random.default_rng(0).normal(size=9)
    fit = linear_entropy(History(np.arange(9.0), np.linspace(0.5, 0.4 - 1e-9, 9), reward))
    noise = fit.rmse * np.sqrt(9 / 7)
    assert fit.standard_errors["ceiling"] / noise == pytest.approx(np.sqrt(1 / 9 + 4.5**2 / 0.9375), rel=1e-4)
    assert fit.standard_errors["ceiling"] / noise == pytest.approx(4.7, abs=0.05)


@pytest.mark.parametrize("member", [entropy_exchange, linear_entropy])
@pytest.mark.parametrize("value", [0.3, 0.0])
def test_entropy_that_never_changed_cannot_be_fitted_at_all(member, value):
    history = History(np.arange(6.0), np.full(6, value), np.arange(6.0))
    for ceiling in (True, False):
        with pytest.raises(Refusal, match="entropy did not change over 6 evaluations"):
            member(history, ceiling=ceiling)
