"""What every objective promises, whoever adds one."""

import inspect
import math
import re
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_steps import poisoned, random_step

from forkpoint import catalog
from forkpoint.batch import Plan, Rows
from forkpoint.objectives.clip import clip

NAMES = catalog.names("objectives")
every_objective = pytest.mark.parametrize("name", NAMES)
seeds = pytest.mark.parametrize("seed", range(4))


def rows_of(step):
    return Rows(step.logp, step.logp_old, step.mask, step.entropy)


def lively_plan(step):
    """Weights of every kind and some marks."""
    weight = torch.tensor([1.0, 0.0, 0.5, 2.0])[torch.arange(step.mask.numel()) % 4].view_as(step.logp)
    return Plan(step.advantage.unsqueeze(1).expand_as(step.logp).clone(), weight, step.mask.roll(1, dims=1))


def gradients(objective, rows, plan):
    leaves = rows.logp.clone().requires_grad_(), rows.entropy.clone().requires_grad_()
    loss = objective(replace(rows, logp=leaves[0], entropy=leaves[1]), plan)
    loss.sum().backward()
    return [loss.detach()] + [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]


@every_objective
@seeds
def test_a_row_depends_on_no_other_row(name, seed):
    """So a step may be cut into micro-batches anywhere, with no bit changed."""
    step, objective = random_step(seed), catalog.get("objectives", name)()
    rows, plan = rows_of(step), lively_plan(step)
    whole = gradients(objective, rows, plan)
    for row in range(5):
        part = slice(row, row + 1)
        alone = gradients(objective, rows_of(step.rows(part)), plan.rows(part))
        assert all(torch.equal(found, expected[part]) for found, expected in zip(alone, whole, strict=True))


@every_objective
@seeds
def test_masked_and_removed_tokens_are_exactly_zero(name, seed):
    """In value and gradient, whatever they hold: a host multiplies by its mask, and 0 * nan is nan."""
    step, objective = random_step(seed), catalog.get("objectives", name)()
    plan = lively_plan(step)
    out = ~step.mask | (plan.weight == 0)
    for found in gradients(objective, rows_of(poisoned(replace(step, mask=~out))), plan):
        assert not found[out].any()


@every_objective
@seeds
def test_the_weight_multiplies_the_loss_of_its_token(name, seed):
    step, objective = random_step(seed), catalog.get("objectives", name)()
    plan = lively_plan(step)
    plain = replace(plan, weight=torch.ones_like(plan.weight))
    for weighted, unweighted in zip(
        gradients(objective, rows_of(step), plan), gradients(objective, rows_of(step), plain), strict=True
    ):
        torch.testing.assert_close(weighted, unweighted * plan.weight, rtol=1e-6, atol=1e-7)


@every_objective
def test_a_removed_token_may_be_as_far_off_as_it_likes(name):
    """Clip-Cov removes tokens whose own loss may be infinite."""
    step = random_step(0)
    step = replace(step, logp=step.logp_old + 1000.0, mask=torch.ones_like(step.mask))
    plan = replace(Plan.neutral(step), weight=torch.zeros_like(step.logp))
    for found in gradients(catalog.get("objectives", name)(), rows_of(step), plan):
        assert not found.any()


@every_objective
def test_without_advantage_an_overflowing_ratio_is_harmless(name):
    """r A = inf * 0: the true value and gradient are 0, plus what the mark or the entropy adds."""
    step = replace(random_step(0), advantage=torch.zeros(5))
    step = replace(step, logp=step.logp_old + 1000.0)
    loss, by_logp, by_entropy = gradients(catalog.get("objectives", name)(), rows_of(step), Plan.neutral(step))
    assert loss.isfinite().all() and not by_logp.any() and by_entropy.isfinite().all()


@every_objective
def test_settings_have_defaults_and_ranges(name):
    factory = catalog.get("objectives", name)
    for setting in inspect.signature(factory).parameters:
        for value in (-1.0, math.inf, math.nan):
            with pytest.raises(ValueError, match=rf"^{setting}="):
                factory(**{setting: value})


@every_objective
def test_every_objective_names_its_source_and_shows_a_number(name):
    assert re.search(r"arXiv:\d{4}\.\d{5}", import_module(f"forkpoint.objectives.{name}").__doc__)
    assert ">>> " in catalog.get("objectives", name).__doc__


# ---- the clip

CLIP = clip()


@settings(max_examples=max(300, settings().max_examples))
@given(
    log_ratio=st.floats(-2000, 2000) | st.sampled_from([0.0, math.inf, -math.inf, 88.8, -104.0]),
    advantage=st.floats(-5, 5, width=32) | st.sampled_from([0.0, -0.0]),
)
def test_the_clip_is_right_wherever_the_truth_fits(log_ratio, advantage):
    """Against the formula in exact cases: finite where the true value and gradient are finite, and equal to them."""
    old = torch.zeros(1, 1)
    logp = torch.full((1, 1), log_ratio).requires_grad_()
    on = torch.ones(1, 1, dtype=torch.bool)
    loss = CLIP(Rows(logp, old, on), Plan(torch.full((1, 1), advantage), torch.ones(1, 1), ~on))
    loss.sum().backward()
    value, slope = float(loss.detach()), float(logp.grad)
    ratio = math.exp(log_ratio) if log_ratio < 700 else math.inf
    if advantage > 0 and ratio > 1.2001:
        assert value == pytest.approx(-1.2 * advantage, rel=1e-6) and slope == 0
    elif advantage < 0 and ratio < 0.7999:
        assert value == pytest.approx(-0.8 * advantage, rel=1e-6) and slope == 0
    elif advantage == 0:
        assert value == 0 and slope == 0
    elif log_ratio < 80:
        assert value == pytest.approx(-ratio * advantage, rel=1e-4, abs=1e-37)
        assert slope == pytest.approx(-ratio * advantage, rel=1e-4, abs=1e-37) or 1.1999 < ratio < 1.2001


def test_an_overflow_that_is_true_is_shown():
    """A bad answer grown e^1000 times likelier: the loss is inf in truth too, and must not pass for a number."""
    rows = Rows(torch.full((1, 1), 1000.0), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    plan = Plan(-torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.bool))
    assert CLIP(rows, plan).isinf().all()


# ---- the entropy bonus


def test_a_bonus_without_entropy_is_refused():
    step, objective = random_step(0), catalog.get("objectives", "clip_entropy")()
    with pytest.raises(ValueError, match="carry no entropy"):
        objective(replace(rows_of(step), entropy=None), Plan.neutral(step))


def test_a_bonus_that_would_train_nothing_is_refused():
    step, objective = random_step(0), catalog.get("objectives", "clip_entropy")()
    rows = replace(rows_of(step), logp=step.logp.clone().requires_grad_())
    with pytest.raises(ValueError, match="no gradient"):
        objective(rows, Plan.neutral(step))
    with torch.no_grad():
        assert objective(rows_of(step), Plan.neutral(step)).isfinite().all()
