"""The tables of a prompt's completions: the host's, or built from a step held whole."""

import math
from dataclasses import replace

import pytest
import torch
from tests.laws.random_steps import random_step
from tests.laws.thread_ranks import on_ranks

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import binary, group_rewards, own_logp, rewards_and_logps, with_advantage
from forkpoint.methods import build


def whole(seed, sizes=(4, 1, 3)):
    """Groups of unequal size, their rows shuffled, every reward another number."""
    draw = torch.Generator().manual_seed(seed)
    group = torch.repeat_interleave(torch.tensor([7, 2, 5])[: len(sizes)], torch.tensor(sizes))
    order = torch.randperm(sum(sizes), generator=draw)
    step = random_step(seed, num_rows=sum(sizes))
    step = replace(step, reward=torch.rand(sum(sizes), generator=draw), group=group[order])
    return replace(step, group_reward=None, group_logp=None)


def by_hand(step, values):
    """Plain Python: each row's group, in the order of row ids, filled up with nan."""
    rows = sorted(range(len(values)), key=lambda row: int(step.row_id[row]))
    members = {int(g): [float(values[r]) for r in rows if step.group[r] == g] for g in step.group}
    width = max(map(len, members.values()))
    return [members[int(g)] + [math.nan] * (width - len(members[int(g)])) for g in step.group]


@pytest.mark.parametrize("seed", range(20))
def test_tables_of_a_step_held_whole(seed):
    step = whole(seed)
    for found, values in ((group_rewards(step), step.reward), (rewards_and_logps(step)[1], own_logp(step))):
        for row, expected in zip(found.tolist(), by_hand(step, values), strict=True):
            assert row == pytest.approx(expected, rel=0, nan_ok=True)


def test_the_hosts_tables_are_taken_as_they_are():
    step = random_step(0)
    assert torch.equal(group_rewards(step), step.group_reward) and torch.equal(
        rewards_and_logps(step)[1], step.group_logp
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["dr_grpo", "hicra", "quantile_advantage", "ucpo"])
def test_a_row_that_brings_its_group_along_is_planned_as_in_the_whole(name, seed):
    """So it does not matter where a step is cut, even between the members of a group."""
    step, method = whole(seed), build(name)
    if method.rewards:
        step = replace(step, reward=(step.reward > 0.4).float())
    tables = {"group_reward": group_rewards(step), "group_logp": rewards_and_logps(step)[1]}
    expected = method.plan(step).advantage
    for row in range(len(step.reward)):
        alone = replace(step, **tables).rows(slice(row, row + 1))
        torch.testing.assert_close(method.plan(alone).advantage, expected[row : row + 1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("missing", "named"), [("reward", "reward"), ("group", "group")])
def test_a_table_that_cannot_be_built_names_the_field(missing, named):
    with pytest.raises(ValueError, match=rf"group_reward is not filled, nor is {named}"):
        group_rewards(replace(whole(0), **{missing: None}))
    with pytest.raises(ValueError, match="group_logp is not filled, nor is group"):
        rewards_and_logps(replace(whole(0), group=None))


def test_over_ranks_the_host_must_fill_the_tables():
    def work(ranks):
        step = replace(whole(ranks.index), ranks=ranks)
        for table in (group_rewards, rewards_and_logps):
            with pytest.raises(ValueError, match="spread over ranks: fill it on each of them"):
                table(step)
        return group_rewards(replace(step, group_reward=torch.ones(8, 4))).shape

    assert on_ranks(2, work) == [(8, 4), (8, 4)]


def test_log_probs_of_a_part_of_a_group_are_refused():
    """The host's rewards tell of completions that this micro-batch lacks: their log-probs are nowhere."""
    step = whole(1)
    filled = replace(step, group_reward=group_rewards(step))
    assert torch.equal(rewards_and_logps(filled)[1].nan_to_num(), rewards_and_logps(step)[1].nan_to_num())
    with pytest.raises(ValueError, match="holds a part of some group: fill group_logp"):
        rewards_and_logps(filled.rows(slice(0, 5)))


def test_a_row_without_tokens_has_no_mean_and_masked_tokens_do_not_matter():
    step = whole(3)
    mask = step.mask.clone()
    mask[0] = False
    trapped = torch.where(mask, step.logp_old, torch.nan)
    found = own_logp(replace(step, logp_old=trapped, mask=mask))
    assert found[0].isnan() and torch.equal(found[1:], own_logp(step)[1:])


def test_rewards_are_binary_or_refused_and_nan_is_no_verdict():
    assert binary(torch.tensor([0.0, 1.0, torch.nan]), "it").tolist() == [False, True, False]
    with pytest.raises(ValueError, match=r"^it is defined for rewards of 0 and 1 and met 0.5"):
        binary(torch.tensor([0.0, 0.5]), "it")


def test_an_advantage_set_twice_is_refused_and_no_verdict_teaches_nothing():
    step = random_step(0)
    plan = with_advantage(step, Plan.neutral(step), torch.tensor([1.0, torch.nan, -2.0, 0.0, 3.0]), "it")
    assert plan.advantage[:, 0].tolist() == [1.0, 0.0, -2.0, 0.0, 3.0]
    with pytest.raises(ValueError, match=r"^it takes the advantage from rewards"):
        with_advantage(step, plan, step.reward, "it")


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 0, 1], [2, 1, 0]])
def test_a_whole_step_may_have_its_rows_in_any_order(order):
    """The host's rewards stand in an order of their own, which need not be that of the rows."""
    logp = torch.tensor([[-1.0, -2.0], [-0.5, -0.7], [-3.0, -0.1]])
    reward = torch.tensor([1.0, 0.0, 1.0])
    step = StepBatch(
        logp,
        logp,
        torch.ones(3, 2, dtype=torch.bool),
        torch.tensor([0.5, -1.0, 0.5]),
        reward=reward,
        group=torch.zeros(3, dtype=torch.long),
        group_reward=reward.expand(3, 3),
    )
    planned = build("ucpo").plan(step).advantage
    assert torch.equal(build("ucpo").plan(step.rows(torch.tensor(order))).advantage, planned[order])
    # of the mean log-probs -1.5 and -1.55 the unlikely one has 1 / (1 + e^-.05) of the inverse mass
    assert float(planned[2, 0]) == pytest.approx(0.5 * (0.8 + 0.4 * 0.5124974), abs=1e-6)
