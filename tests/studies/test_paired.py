"""What a comparison rests on: intervals, p-values and their correction, against numbers made another way."""

import math

import numpy as np
import pytest

from forkpoint.significance import holm
from forkpoint.studies._paired import paired, passes, t_test


@pytest.mark.parametrize(
    ("t", "seeds", "p"), [(2.776445, 5, 0.05), (4.604095, 5, 0.01), (12.7062, 2, 0.05), (2.262157, 10, 0.05)]
)
def test_p_is_that_of_student_s_table(t, seeds, p):
    values = np.arange(seeds) - (seeds - 1) / 2
    values = values + t * values.std(ddof=1) / math.sqrt(seeds)
    assert t_test(values) == pytest.approx(p, rel=1e-4)


def test_p_of_one_seed_is_not_a_number_and_that_of_equal_differences_is_zero():
    assert math.isnan(t_test([1.0])) and t_test([2.0, 2.0]) == 0.0 and t_test([0.0, 0.0]) == 1.0


def test_p_is_uniform_where_there_is_no_difference():
    draw = np.random.default_rng(1)
    found = [t_test(draw.normal(size=5)) for _ in range(2000)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_holm_leaves_one_test_alone_and_passes_nan_over():
    assert holm([0.04]) == [0.04]
    adjusted = holm([math.nan, 0.02, 0.5])
    assert math.isnan(adjusted[0]) and adjusted[1:] == [0.04, 0.5]


def test_an_interval_over_seeds_and_problems_is_wider_than_over_seeds():
    draw = np.random.default_rng(0)
    ours = draw.integers(0, 2, (5, 40)).astype(float)
    table, seeds = paired(ours, np.zeros_like(ours)), paired(ours.mean(1), np.zeros(5))
    assert table.mean == pytest.approx(seeds.mean)
    assert table.high - table.low > 1.2 * (seeds.high - seeds.low)


def test_the_bootstrap_s_spread_is_that_of_its_formula():
    values = np.random.default_rng(3).normal(size=40)
    found = paired(values, np.zeros(40), draws=40_000)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(values.std() / math.sqrt(40), rel=0.03)


def test_a_difference_is_of_the_same_seeds():
    level = np.array([0.1, 0.5, 0.9, 0.3, 0.7])  # seeds differ far more than the arms do
    found = paired(level + np.array([0.02, 0.021, 0.019, 0.02, 0.022]), level)
    assert found.excludes_zero and found.p < 1e-3


def test_shapes_must_be_the_same():
    with pytest.raises(ValueError, match="same seeds"):
        paired(np.zeros(3), np.zeros(4))


def test_pass_at_k_is_the_unbiased_one():
    assert passes([[4]], 16, 4)[0, 0] == pytest.approx(1 - 495 / 1820)
