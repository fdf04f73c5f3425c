"""What the papers claim of their advantages, as properties of every group and every answer."""

import math
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.laws.random_steps import random_step

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit.quantile_baseline import empirical
from forkpoint.methods import build

DOUBLE = torch.float64
amounts = st.sampled_from([0.0, 1.0, -1.0, 1e-30]) | st.floats(-10, 10)


def answers(rewards, advantage=None, **fields):
    """One prompt's answers of one token each."""
    reward = torch.tensor(rewards, dtype=DOUBLE)
    nothing = torch.zeros(len(reward), 1, dtype=DOUBLE)
    given_advantage = torch.zeros_like(reward) if advantage is None else torch.tensor(advantage, dtype=DOUBLE)
    table = reward.expand(len(reward), len(reward))
    on = torch.ones_like(nothing, dtype=torch.bool)
    return StepBatch(nothing, nothing, on, given_advantage, reward=reward, group_reward=table, **fields)


def planned(name, step, **settings):
    return build(name, **settings).plan(step).advantage[:, 0]


# ---- bonuses that never turn an advantage around


@given(st.lists(amounts, min_size=1, max_size=6), st.floats(0, 20), st.floats(0, 5), st.floats(1, 10))
def test_an_entropy_bonus_never_lowers_an_advantage_nor_turns_it(advantage, entropy, alpha, kappa):
    step = answers([0.0] * len(advantage), advantage)
    step = replace(step, entropy=torch.full_like(step.logp, entropy))
    shaped = planned("entropy_advantage", step, alpha=alpha, kappa=kappa)
    kept_sign(step.advantage, shaped, most=1 / kappa)


@given(st.lists(amounts, min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 5))
def test_a_role_bonus_never_lowers_an_advantage_nor_turns_it(advantage, alpha, label):
    step = answers([0.0] * len(advantage), advantage, label=torch.full((len(advantage), 1), label))
    shaped = planned("hicra", step, alpha=alpha, baseline="host")
    kept_sign(step.advantage, shaped, most=alpha)
    if label != 3 or alpha == 0:
        assert torch.equal(shaped, step.advantage), "no planning token, or no bonus: nothing changes"


statistics = st.floats(-1e3, 1e3) | st.just(math.nan)


@given(
    st.lists(amounts, min_size=1, max_size=4),
    st.tuples(statistics, statistics, statistics),
    st.tuples(st.floats(0, 1e3), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    st.floats(1, 10),
)
def test_a_rank_bonus_never_lowers_an_advantage_nor_turns_it(advantage, rank, mids, kappa):
    step = answers([0.0] * len(advantage), advantage)
    step = replace(step, rank=torch.tensor([[*rank, 0.0, 0.0, 0.0]], dtype=DOUBLE).expand(len(advantage), 6))
    mid_rank, mid_velocity, mid_acceleration = mids
    usual = {"mid_rank": mid_rank, "mid_velocity": mid_velocity, "mid_acceleration": mid_acceleration}
    shaped = planned("rank_shaping", step, kappa=kappa, weight=3.0, **usual)
    kept_sign(step.advantage, shaped, most=1 / kappa)
    if mid_rank == 0 or math.isnan(rank[0]):
        assert torch.equal(shaped, step.advantage), "no average yet, or an answer too short: nothing changes"


def kept_sign(before, after, *, most):
    raised = after - before
    slack = 1e-12 * before.abs()
    assert (raised >= -slack).all() and (raised <= most * before.abs() + slack).all()
    assert (after.sign() * before.sign() >= 0).all() and (after[before == 0] == 0).all()


def test_the_rank_bonus_is_at_work_from_the_second_step_on():
    """An average that began at 0 would call every answer of the first steps five times as high as usual."""
    method = build("rank_shaping")
    steps = [random_step(seed) for seed in range(20)]
    first = [method.plan(step).advantage for step in steps]
    assert all(torch.equal(found, Plan.neutral(step).advantage) for found, step in zip(first, steps, strict=True))
    knobs = {}
    for controller, column in zip(method.controllers, range(3), strict=True):
        _, turned = controller.law({}, {controller.reads[0]: float(steps[0].rank[:, column].mean())})
        knobs |= turned
    warm = method.with_knobs(**knobs)
    raised = [(warm.plan(step).advantage != step.advantage.unsqueeze(1)).float().mean() for step in steps]
    assert 0.1 < float(torch.stack(raised).mean()) < 0.9, "some answers, not none and not all"


# ---- a quantile instead of the mean


@given(st.integers(1, 16), st.data(), st.floats(0, 1) | st.sampled_from([0.25, 0.4, 0.5, 0.6, 0.7]))
def test_hard_prompts_teach_by_their_right_answers_and_easy_ones_by_their_wrong_ones(size, data, quantile):
    right = data.draw(st.integers(0, size))
    step = answers([1.0] * right + [0.0] * (size - right))
    advantage = planned("quantile_advantage", step, quantile=quantile)
    of_right, of_wrong = advantage[:right], advantage[right:]
    if right in (0, size):
        assert not advantage.any(), "a group of one verdict has nothing to say"
    elif (size - right) / size >= quantile:  # p <= 1 - quantile, without rounding 1 - quantile
        assert (of_right > 0).all() and not of_wrong.any()
    else:
        assert not of_right.any() and (of_wrong < 0).all()


def test_interpolation_moves_both_sides_at_some_rates():
    """quantile (G - 1) = 2.8 lies between the last wrong and the first right answer: Q = 0.8."""
    step = answers([0.0] * 3 + [1.0] * 5)
    linear = planned("quantile_advantage", step, estimator="linear")
    assert (linear[:3] < 0).all() and (linear[3:] > 0).all()
    empirical_ = planned("quantile_advantage", step)
    assert (empirical_[:3] < 0).all() and not empirical_[3:].any()


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.floats(0, 1))
def test_the_empirical_quantile_is_the_first_value_that_enough_others_do_not_exceed(values, quantile):
    found = float(empirical(torch.tensor([values + [math.nan] * 2], dtype=DOUBLE), quantile))
    enough = [x for x in sorted(values) if sum(y <= x for y in values) / len(values) >= quantile]
    assert found == enough[0]


# ---- one of k


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_average_over_every_group_of_k(size, data):
    """Full enumeration: each group of k answers is rewarded by its best, and an answer by the mean of its groups."""
    k, right = data.draw(st.integers(1, size)), data.draw(st.integers(0, size))
    rewards = [1.0] * right + [0.0] * (size - right)
    groups = list(combinations(range(size), k))
    best = [max(rewards[i] for i in group) for group in groups]
    mean = sum(best) / len(best)
    sigma = math.sqrt(mean * (1 - mean)) + 1e-6
    own = [[b for group, b in zip(groups, best, strict=True) if i in group] for i in range(size)]
    expected = [(sum(mine) / len(mine) - mean) / sigma for mine in own]
    found = planned("pass_at_k", answers(rewards), k=k).tolist()
    # where all groups agree, rounding of about 1e-16 is divided by 1e-6
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_more_answers_than_a_group_has_are_refused():
    with pytest.raises(ValueError, match=r"k=4 exceeds the group's 3 completions: lower k, or sample more"):
        planned("pass_at_k", answers([1.0, 0.0, 0.0]))
    for k in (0.0, 2.5, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"^pass_at_k: k="):
            build("pass_at_k", k=k)


# ---- wrong answers and unlikely answers


def test_wrong_answers_teach_whatever_they_are_called():
    zero_one, signed = answers([1.0, 0.0, 0.0]), answers([1.0, -1.0, -1.0])
    assert planned("nsr", zero_one).tolist() == [0.1, -1.0, -1.0] == planned("nsr", signed).tolist()
    assert planned("nsr", zero_one, positive=0.0).tolist() == [0.0, -1.0, -1.0]
    assert planned("nsr", answers([1.0, 0.2, 0.8]), threshold=0.5).tolist() == [0.1, -1.0, 0.1]


@given(st.lists(st.tuples(st.booleans(), st.floats(-5, 0)), min_size=1, max_size=8), st.floats(0, 1))
def test_ucpo_keeps_the_mass_of_right_answers_and_orders_them(rows, tau):
    right, logp = [float(r) for r, _ in rows], [lp for _, lp in rows]
    step = answers(right, advantage=[1.5 if r else -0.5 for r in right])
    old = torch.tensor(logp, dtype=DOUBLE).unsqueeze(1)
    step = replace(step, logp_old=old, logp=old, group_logp=old.T.expand(len(rows), len(rows)))
    found = planned("ucpo", step, tau=tau).tolist()
    rewarded = sorted((lp, a) for (r, lp), a in zip(rows, found, strict=True) if r)
    assert sum(a for _, a in rewarded) == pytest.approx(1.5 * len(rewarded), rel=1e-9)
    assert all(later <= earlier + 1e-9 for (_, earlier), (_, later) in pairwise(rewarded))
    assert all(a == -0.5 for (r, _), a in zip(rows, found, strict=True) if not r)
    if tau == 0 or len(rewarded) < 2:
        assert all(a == pytest.approx(1.5, rel=1e-12) for _, a in rewarded)


# ---- forking tokens


@given(st.integers(0, 10**6), st.floats(0.01, 1))
def test_kept_weights_make_the_mean_over_all_tokens_one_over_the_kept(seed, share):
    step = random_step(seed)
    kept, every = (build("forking_tokens", share=share, normalize=how) for how in ("kept", "all"))
    chosen = (kept.plan(step).weight != 0) & step.mask
    num, num_kept = int(step.mask.sum()), int(chosen.sum())
    assert num_kept == max(1, int(share * num + 0.9999)) and torch.equal(
        chosen, every.plan(step).weight.bool() & step.mask
    )
    removed = step.entropy[step.mask & ~chosen]
    assert not len(removed) or step.entropy[chosen].min() >= removed.max()
    only = build("dapo").step_loss(step.only(chosen))
    torch.testing.assert_close(kept.step_loss(step), only, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(every.step_loss(step), only * num_kept / num, rtol=1e-5, atol=1e-6)
