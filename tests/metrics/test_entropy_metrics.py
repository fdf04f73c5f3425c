"""The entropies of one step by different estimators: hand-made numbers and numpy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from forkpoint.batch import Mean, StepBatch
from forkpoint.metrics.accuracy import accuracy
from forkpoint.metrics.entropy_full import entropy_full
from forkpoint.metrics.entropy_full_sequence_mean import entropy_full_sequence_mean
from forkpoint.metrics.entropy_nonfinite import entropy_nonfinite
from forkpoint.metrics.entropy_quantile import Quantile, entropy_quantile
from forkpoint.metrics.entropy_sampled import entropy_sampled
from forkpoint.metrics.entropy_share_above import entropy_share_above


def step_of(entropy: list[list[float]]) -> StepBatch:
    """One row per list, padded."""
    width = max(map(len, entropy))
    padded = torch.tensor([row + [math.nan] * (width - len(row)) for row in entropy])
    mask = torch.tensor([[t < len(row) for t in range(width)] for row in entropy])
    zero = torch.zeros_like(padded)
    return StepBatch(zero, zero, mask, torch.zeros(len(entropy)), entropy=padded)


def test_token_mean_and_sequence_mean_differ_by_length():
    step = step_of([[1.0, 1.0, 1.0, 1.0], [0.0], [2.0, 0.0]])
    assert entropy_full(step).value == 6 / 7
    assert entropy_full_sequence_mean(step) == Mean(1 + 0 + 1, 3)


def test_a_row_without_chosen_tokens_has_no_sequence_mean():
    assert entropy_full_sequence_mean(step_of([[1.0, 3.0], []])) == Mean(2.0, 1)


def test_sums_are_exact_where_float32_would_drift():
    num = 200_000
    step = step_of([[0.1] * num])
    assert entropy_full(step).value == pytest.approx(float(np.float32(0.1)), rel=1e-13)
    assert entropy_full_sequence_mean(step).value == pytest.approx(float(np.float32(0.1)), rel=1e-13)


def test_sampled_entropy_is_of_the_policy_that_sampled():
    step = step_of([[0.0, 0.0]])
    step = replace(step, logp=torch.tensor([[-9.0, -9.0]]), logp_old=torch.tensor([[-1.0, -2.0]]))
    assert entropy_sampled(step).value == 1.5


def test_sampled_entropy_is_unbiased_for_full_entropy():
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    expected = sum(
        weight.item() * entropy_sampled(replace(step_of([[0.0]]), logp_old=weight.log().view(1, 1))).value
        for weight in p
    )
    assert expected == pytest.approx(-(p * p.log()).sum().item())


@pytest.mark.parametrize(("threshold", "share"), [(-1.0, 1.0), (0.5, 0.5), (0.0, 0.75), (2.0, 0.0)])
def test_share_above_is_strict(threshold, share):
    assert entropy_share_above(step_of([[0.0, 0.5], [1.0, 2.0]]), threshold).value == share


@pytest.mark.parametrize("q", [0.0, 0.1, 0.37, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("num", [1, 2, 3, 10, 101])
def test_quantile_equals_numpy(q, num):
    values = np.random.default_rng(num).gamma(0.3, size=num).astype(np.float32)
    assert entropy_quantile(step_of([values.tolist()]), q).value == pytest.approx(np.quantile(values.astype(float), q))


def test_the_merge_of_quantiles_is_not_their_mean():
    left, right = entropy_quantile(step_of([[0.0, 0.0, 0.0, 4.0]]), 0.5), entropy_quantile(step_of([[4.0]]), 0.5)
    assert (left.value, right.value, (left + right).value) == (0.0, 4.0, 0.0)


def test_quantiles_of_different_q_do_not_merge():
    with pytest.raises(ValueError, match="same q"):
        Quantile(0.5, torch.ones(1)) + Quantile(0.9, torch.ones(1))


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_zero_to_one_is_refused(q):
    with pytest.raises(ValueError, match="from 0 to 1"):
        entropy_quantile(step_of([[1.0]]), q)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_mean_shows_a_bad_entropy_and_the_guard_counts_it(bad):
    step = step_of([[0.5, bad], [bad, bad, 0.5]])
    assert not math.isfinite(entropy_full(step).value)
    assert not math.isfinite(entropy_full_sequence_mean(step).value)
    assert math.isnan(entropy_quantile(step, 0.1).value)
    assert entropy_nonfinite(step).num == 3


def test_accuracy_of_no_rows_is_nan():
    step = replace(step_of([[0.0], [0.0]]), correct=torch.tensor([True, False]))
    assert accuracy(step).value == 0.5
    assert math.isnan(accuracy(step.rows(slice(0, 0))).value)
