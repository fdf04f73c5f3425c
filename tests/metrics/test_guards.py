"""The guards of the metrics folder: each traps what it is for, and what it must let by."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forkpoint.batch import StepBatch
from forkpoint.metrics.dead_groups import dead_groups
from forkpoint.metrics.duplicate_groups import duplicate_groups
from forkpoint.metrics.nonfinite import nonfinite
from forkpoint.metrics.reward_range import Extreme, reward_range

REWARDS = st.sampled_from([0.0, -0.0, 1.0, 0.1, 0.1 + 2**-24, math.nan])


def step_of(rewards, group, *, ids=None, mask=None):
    """A step of two tokens per row that holds what these guards read."""
    rows = len(rewards)
    return StepBatch(
        logp=torch.zeros(rows, 2),
        logp_old=torch.zeros(rows, 2),
        mask=torch.ones(rows, 2, dtype=torch.bool) if mask is None else mask,
        advantage=torch.zeros(rows),
        token_ids=torch.arange(2 * rows).view(rows, 2) if ids is None else torch.tensor(ids),
        reward=torch.tensor(rewards),
        group=torch.tensor(group, dtype=torch.long),
    )


@given(rows=st.lists(st.tuples(st.integers(0, 4), REWARDS), min_size=1, max_size=20), data=st.data())
def test_dead_groups_against_a_second_count_however_the_rows_are_cut(rows, data):
    """A group may lie across micro-batches and ranks: the parts still add up to the whole."""
    step = step_of([reward for _, reward in rows], [group for group, _ in rows])
    by_group = {g: [r for other, r in rows if other == g and not math.isnan(r)] for g, _ in rows}
    expected = sum(all(r == seen[0] for r in seen) for seen in by_group.values()) / len(by_group)
    cut = data.draw(st.integers(0, len(rows)))
    parts = dead_groups(step.rows(slice(0, cut))) + dead_groups(step.rows(slice(cut, len(rows))))
    assert dead_groups(step).value == parts.value == pytest.approx(expected)


def test_rewards_that_differ_by_the_last_bit_are_alive():
    almost = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0)).item()
    assert dead_groups(step_of([0.5, almost], [0, 0])).value == 0.0
    assert dead_groups(step_of([0.5, 0.5], [0, 0])).value == 1.0


def test_rows_without_a_reward_are_left_out_and_a_group_of_them_is_dead():
    nan = math.nan
    assert dead_groups(step_of([1.0, nan, 0.0, nan], [0, 0, 0, 0])).value == 0.0
    assert dead_groups(step_of([1.0, nan, 1.0, nan], [0, 0, 0, 0])).value == 1.0
    assert dead_groups(step_of([nan, nan], [0, 0])).value == 1.0


def test_duplicates_are_compared_by_chosen_tokens_and_not_by_padding():
    mask = torch.tensor([[True, False], [True, False], [True, True]])
    step = step_of([0.0] * 3, [0, 0, 0], ids=[[5, 1], [5, 2], [5, 2]], mask=mask)
    assert duplicate_groups(step.rows(slice(0, 2))).value == 1.0, "only padding differs"
    assert duplicate_groups(step).value == 0.0, "one is a token longer"


def test_one_different_completion_saves_a_group_wherever_it_lies():
    for odd in range(4):
        ids = [[5, 6]] * 4
        ids[odd] = [5, 7]
        step = step_of([0.0] * 4, [0] * 4, ids=ids)
        assert duplicate_groups(step).value == 0.0
        assert (duplicate_groups(step.rows(slice(0, 2))) + duplicate_groups(step.rows(slice(2, 4)))).value == 0.0
    assert duplicate_groups(step_of([0.0] * 4, [0] * 4, ids=[[5, 6]] * 4)).value == 1.0


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["logp", "logp_old", "advantage", "reward"])
def test_what_is_not_finite_is_counted_once_per_token(field, poison):
    healthy = step_of([0.0, 1.0], [0, 0])
    values = getattr(healthy, field).clone()
    values[0] = poison
    expected = 0 if field == "reward" and math.isnan(poison) else 2
    assert nonfinite(replace(healthy, **{field: values})).num == expected, "both tokens of row 0"
    assert nonfinite(healthy).num == 0


def test_a_reward_of_seven_is_the_highest_and_an_absent_one_no_value():
    step = step_of([0.0, 7.0, math.nan], [0, 0, 0])
    assert (reward_range(step, sign=-1.0).value, reward_range(step).value) == (0.0, 7.0)
    assert math.isnan(reward_range(step.rows(slice(2, 3))).value)
    assert reward_range(step_of([math.inf, 0.0], [0, 0])).value == math.inf


def test_the_two_ends_do_not_mix():
    with pytest.raises(ValueError, match="lowest with a highest"):
        Extreme(1.0, 0.0) + Extreme(-1.0, 0.0)
