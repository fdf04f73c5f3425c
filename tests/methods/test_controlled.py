"""Controlled methods on plain tensors: what they weigh, by the papers' own numbers and algorithms."""

from dataclasses import replace

import pytest
import torch
from tests.laws.random_steps import random_step

from forkpoint.batch import StepBatch
from forkpoint.controllers import Loop
from forkpoint.credit.covariance_tilt import covariance_tilt
from forkpoint.methods import build


def turned(name, readings, **settings):
    """The method as it is after the readings of its first controller."""
    built = build(name, **settings)
    loop = Loop(built.controllers)
    for i, reading in enumerate(readings):
        loop.take({"step": float(i + 1), **dict.fromkeys(loop.reads, reading)})
    return built.with_knobs(**loop.knobs)


@pytest.mark.parametrize(
    ("target", "readings", "alphas"),
    [
        (0.4, [0.5, 0.4, 0.3, 0.2, 0.3], [0.1, 0.001, -0.099, -0.2, -0.102]),
        (0.5, [0.8, 0.7, 0.6, 0.5, 0.4], [0.3, 0.203, 0.105, 0.006, -0.094]),
    ],
)
def test_entropic_weighs_good_and_bad_answers_by_the_published_sequence(target, readings, alphas):
    step = replace(random_step(0), advantage=torch.tensor([1.0, -1.0, 2.0, 0.0, -3.0]))
    for i, alpha in enumerate(alphas):
        weight = turned("entropic", readings[: i + 1], target=target).plan(step).weight
        by_row = [float(weight[row][step.mask[row]].unique()) for row in range(5)]
        assert by_row == pytest.approx([1 + alpha, 1 - alpha, 1 + alpha, 1, 1 - alpha], abs=1e-6)


def test_entropic_never_turns_an_advantage_around():
    for far in (99.0, -99.0):
        method = turned("entropic", [far] * 3)
        assert abs(method.settings["tilt"]) == 1 and (method.plan(random_step(1)).weight >= 0).all()


@pytest.mark.parametrize(("entropy", "sign"), [(0.75, 1), (0.65, 0), (0.55, -1)])
def test_entrocraft_keeps_what_the_algorithm_keeps(entropy, sign):
    method, step = turned("entrocraft", [entropy]), random_step(2)
    assert method.settings["sign"] == sign
    kept = (sign * step.advantage >= 0).unsqueeze(1) & step.mask
    weight = method.plan(step).weight
    assert torch.equal((weight > 0) & step.mask, kept)
    loss = torch.where(kept, -method_ratio(step) * 1.0, 0.0).sum() / kept.sum()
    assert float(method.step_loss(step)) == pytest.approx(float(loss), rel=1e-5)


def method_ratio(step):
    """min(r A, clip(r) A) of each token at the default bounds."""
    ratio, advantage = (step.logp - step.logp_old).exp(), step.advantage.unsqueeze(1)
    return torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)


def test_entrocraft_with_rewards_of_zero_and_one_still_teaches_below_the_band():
    """Raw rewards as advantages would be zero for every wrong answer; the host's are not."""
    step = replace(random_step(3), advantage=torch.tensor([0.5, -0.5, 0.5, -0.5, -0.5]))
    step = replace(step, reward=(step.advantage > 0).float(), logp=step.logp_old.clone().requires_grad_())
    turned("entrocraft", [0.1]).step_loss(step).backward()
    moved = (step.logp.grad != 0).any(1)
    assert moved.tolist() == [False, True, False, True, True]


def test_entrocraft_with_nothing_to_keep_teaches_nothing():
    step = replace(random_step(3), advantage=torch.ones(5))
    assert float(turned("entrocraft", [0.1]).step_loss(step)) == 0.0


def test_entrocraft_moves_its_band_down():
    assert [turned("entrocraft", [0.55] * n, steps=10.0).settings["sign"] for n in (1, 5, 10)] == [-1, 0, 1]


# ---- the tilt


def tabular(logits, num):
    """A batch that holds every action of one state in proportion to its probability, and the advantage of each row."""
    logp = logits.log_softmax(0)
    action = torch.repeat_interleave(torch.arange(len(logits)), (num * logp.exp()).round().long())
    value = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    advantage = value - (logp.exp() * value).sum()
    sampled = logp[action].unsqueeze(1)
    entropy = torch.full_like(sampled, float(-(logp.exp() * logp).sum()))
    mask = torch.ones_like(sampled, dtype=torch.bool)
    return StepBatch(sampled, sampled, mask, advantage[action], entropy=entropy), action, advantage


def entropy_of(logits):
    return float(torch.distributions.Categorical(logits=logits).entropy())


@pytest.mark.parametrize("tilt", [-1.0, -0.3, 0.0, 0.6, 1.0])
def test_a_natural_gradient_step_changes_entropy_by_minus_eta_times_k_minus_tilt_g(tilt):
    """The claim of the credit rule, where everything is exact: dz = eta w A, one state, four actions."""
    logits, eta = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64), 1e-4
    step, action, advantage = tabular(logits, 100_000)
    plan = covariance_tilt(tilt=tilt)(step, _neutral(step), (0, 0))
    weight = torch.stack([plan.weight[action == a].mean() for a in range(4)])
    change = entropy_of(logits + eta * weight * advantage) - entropy_of(logits)
    k = ((step.logp + step.entropy).squeeze(1) * step.advantage).double()
    predicted = -eta * float(k.mean() - tilt * k.abs().mean())
    assert change == pytest.approx(predicted, rel=1e-3)


def _neutral(step):
    from forkpoint.batch import Plan

    return Plan.neutral(step)


def test_the_full_tilt_leaves_only_one_kind_of_token():
    step = random_step(4)
    k = (step.logp + step.entropy) * step.advantage.unsqueeze(1)
    for tilt, gone in ((1.0, k > 0), (-1.0, k < 0)):
        weight = covariance_tilt(tilt=tilt)(step, _neutral(step), (0, 0)).weight
        assert torch.equal(weight == 0, gone & step.mask)
        assert set(weight.unique().tolist()) <= {0.0, 1.0, 2.0}


def test_a_certain_token_and_a_uniform_one_are_left_alone():
    """There log p is its own mean, and what is left of the difference is rounding."""
    logp = torch.tensor([[-3.0e-8, -(torch.tensor(7.0).log())]])
    step = replace(random_step(0, 1, 2), logp=logp, entropy=-logp * (1 + 1e-7), mask=torch.ones(1, 2).bool())
    assert (covariance_tilt(tilt=1.0)(step, _neutral(step), (0, 0)).weight == 1).all()


def test_each_role_has_its_own_tilt_and_other_tokens_have_none():
    step = random_step(5)
    plan = build("fork_thermostat", tilt_fork=0.5, tilt_execution=-1.0).plan(step)
    for label, values in {0: {1.0}, 1: {0.5, 1.5}, 2: {0.0, 2.0}, 3: {1.0}, 4: {1.0}}.items():
        assert set(plan.weight[step.mask & (step.label == label)].tolist()) <= values


def test_a_budget_tilts_every_token():
    step = random_step(6)
    weight = build("entropy_budget", tilt=0.25).plan(step).weight[step.mask]
    assert set(weight.tolist()) == {0.75, 1.25}


def test_a_budget_begins_where_the_run_begins():
    readings = [0.8, 0.6, 0.7, 0.7, 0.7]
    assert turned("entropy_budget", readings).settings["tilt"] == 0.0, "five readings make the start"
    plan = {"steps": 6.0, "end": 0.7, "gain": 1.0, "integral_gain": 0.0}
    assert turned("entropy_budget", [*readings, 0.6], **plan).settings["tilt"] == pytest.approx(0.1)
