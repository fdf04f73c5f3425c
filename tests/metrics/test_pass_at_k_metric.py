"""pass@k against every subset there is."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import pytest
import torch

from forkpoint import metrics
from forkpoint.batch import StepBatch
from forkpoint.metrics.accuracy import accuracy
from forkpoint.metrics.pass_at_k import pass_at_k, unbiased_pass_at_k


def groups_of(verdicts: list[list[bool]]) -> StepBatch:
    """One group per list."""
    flat = [right for group in verdicts for right in group]
    number = [i for i, group in enumerate(verdicts) for _ in group]
    zero = torch.zeros(len(flat), 1)
    return StepBatch(
        zero, zero, zero == 0, torch.zeros(len(flat)), correct=torch.tensor(flat), group=torch.tensor(number) * 7 - 3
    )


@pytest.mark.parametrize("n", range(1, 8))
def test_equals_the_share_of_subsets_that_hold_a_right_answer(n):
    for c in range(n + 1):
        answers = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(answers, k))
            share = sum(map(any, subsets)) / len(subsets)
            assert unbiased_pass_at_k(n, c, k) == pytest.approx(share, abs=1e-15), (n, c, k)


@pytest.mark.parametrize(("n", "c", "k", "value"), [(16, 4, 1, 0.25), (16, 13, 4, 1.0), (64, 2, 8, 0.236111)])
def test_known_values(n, c, k, value):
    assert unbiased_pass_at_k(n, c, k) == pytest.approx(value, abs=5e-7)


def test_stays_exact_where_binomials_leave_float64():
    n, c, k = 5000, 3, 2000
    exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert unbiased_pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 2), (4, -1, 2), (0, 0, 1)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match=f"pass@{k}"):
        unbiased_pass_at_k(n, c, k)


def test_pass_at_1_is_accuracy_for_equal_groups_and_weighs_prompts_alike_for_others():
    equal = groups_of([[True, False], [True, True]])
    assert pass_at_k(equal, k=1).value == accuracy(equal).value == 0.75
    unequal = groups_of([[True], [False, False, False]])
    assert (pass_at_k(unequal, k=1).value, accuracy(unequal).value) == (0.5, 0.25)


def test_a_group_too_small_is_named_with_the_remedy():
    step = groups_of([[True] * 4, [False] * 3])
    with pytest.raises(ValueError, match=r"pass@4: group 4 has 3 rows; choose k <= 3 or sample more"):
        pass_at_k(step, k=4)


def test_measure_records_each_k_that_every_group_can_fill():
    step = groups_of([[True] * 4, [False] * 5])
    assert {key for key in metrics.measure(step) if key.startswith("pass@")} == {"pass@1", "pass@2", "pass@4"}
    assert metrics.measure(step)["pass@4"].value == 0.5


def test_groups_need_not_be_neighbors():
    step = groups_of([[True, False], [False, False]])
    assert pass_at_k(step.rows(torch.tensor([2, 0, 3, 1])), k=2) == pass_at_k(step, k=2)


def test_no_verdicts_no_column():
    assert not [key for key in metrics.measure(replace(groups_of([[True]]), correct=None)) if key.startswith("pass@")]
