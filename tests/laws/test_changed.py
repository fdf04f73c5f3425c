"""What a method changed, for every method of the folder: nothing where it says so, something where it is meant to."""

from dataclasses import replace
from functools import cache
from importlib import import_module

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_steps import poisoned, random_step, selected

from forkpoint import catalog
from forkpoint.batch import Plan
from forkpoint.methods import Method, build
from forkpoint.methods._changed import changed
from forkpoint.metrics.clip_share import clip_share
from forkpoint.objectives.marked_kl import marked_kl

every_method = pytest.mark.parametrize("name", catalog.names("methods"))
SEEDS = range(20)


@cache
def lively(name):
    """The method with its doses raised, so that a step of thirty tokens shows what it does; its file may say how."""
    doses = {"share": 0.3, "coef": 0.5} | getattr(import_module(f"forkpoint.methods.{name}"), "LIVELY", {})
    return build(name, **{k: v for k, v in doses.items() if k in build(name).settings})


def filled(step):
    """Every optional field that a method may read."""
    return replace(step, correct=step.reward > 0.5)


def change(method, step):
    return changed(method, step, method.plan(step))


@every_method
def test_on_policy_a_method_that_needs_off_policy_changes_nothing(name):
    method = lively(name)
    moved = [bool(change(method, filled(random_step(seed, on_policy=True))).any()) for seed in SEEDS]
    if method.needs_off_policy:
        assert not any(moved)
    elif method.intervenes:
        assert any(moved), "it says that it acts on-policy as well"


@every_method
def test_off_policy_a_method_that_intervenes_changes_something(name):
    method = lively(name)
    moved = [bool(change(method, filled(random_step(seed))).any()) for seed in SEEDS]
    assert any(moved) or not method.intervenes


@every_method
@pytest.mark.parametrize("seed", range(4))
def test_a_masked_token_is_never_changed_and_never_matters(name, seed):
    method, step = lively(name), filled(random_step(seed))
    plan = method.plan(step)
    found = changed(method, step, plan)
    assert not found[~step.mask].any()
    assert torch.equal(found, changed(method, replace(poisoned(step), reward=None, correct=None, group=None), plan))


@every_method
def test_asking_draws_nothing_and_leaves_no_gradient(name):
    step = filled(random_step(0))
    step.logp.requires_grad_()
    before = torch.random.get_rng_state()
    plan = lively(name).plan(step)
    with torch.no_grad():
        quiet = changed(lively(name), step, plan)
    assert torch.equal(quiet, changed(lively(name), step, plan)), "it also works where the host has gradients off"
    assert torch.equal(before, torch.random.get_rng_state()) and step.logp.grad is None


@given(seed=st.integers(0, 10**6))
def test_what_grpo_changes_is_exactly_what_it_clips(seed):
    step = random_step(seed)
    ratio, advantage = (step.logp - step.logp_old).double().exp(), step.advantage.unsqueeze(1)
    clipped = ((ratio > 1.2) & (advantage > 0)) | ((ratio < 0.8) & (advantage < 0))
    found = change(build("grpo"), step)
    assert torch.equal(found, clipped & step.mask)
    assert int(found.sum()) == clip_share(step).sum


@pytest.mark.parametrize("seed", range(4))
def test_what_kl_cov_changes_off_policy_is_what_it_marks(seed):
    step, method = random_step(seed), lively("kl_cov")
    plan = method.plan(step)
    assert torch.equal(changed(method, step, plan), plan.mark) and plan.mark.any()
    assert torch.equal(selected(step, plan), plan.mark)


def test_a_bonus_changes_every_token_and_a_bonus_of_zero_none():
    step = random_step(0, on_policy=True)
    assert torch.equal(change(build("entropy_bonus"), step), step.mask)
    assert not change(build("entropy_bonus", coef=0.0), step).any()


def test_a_new_advantage_a_weight_and_a_mark_are_each_a_selection():
    step = random_step(0)
    plan, (row, token) = Plan.neutral(step), random_step(0).mask.nonzero()[0].tolist()
    assert not selected(step, plan).any()
    for part, value in {"advantage": 9.0, "weight": 0.5, "mark": True}.items():
        other = getattr(plan, part).clone()
        other[row, token] = value
        assert selected(step, replace(plan, **{part: other})).nonzero().tolist() == [[row, token]]


def test_a_removed_token_of_a_row_without_advantage_is_no_change():
    step = replace(random_step(0), advantage=torch.zeros(5))
    plan = replace(Plan.neutral(step), weight=torch.zeros_like(step.logp))
    assert not changed(build("grpo"), step, plan).any()


def test_a_nan_token_is_counted_elsewhere_and_hides_no_other():
    step = random_step(0)
    row, token = step.mask.nonzero()[0].tolist()
    before = change(build("entropy_bonus"), step)
    step.logp[row, token] = torch.nan
    after = change(build("entropy_bonus"), step)
    assert not after[row, token] and int(before.sum()) == int(after.sum()) + 1


def test_a_method_by_hand_is_asked_like_any_other():
    """The negative control of the first law: a coefficient of zero is inert off-policy too."""
    step = random_step(0)
    plan = replace(Plan.neutral(step), mark=step.mask)
    assert changed(Method((), marked_kl(coef=0.5)), step, plan).any()
    assert not changed(Method((), marked_kl(coef=0.0)), step, plan).any()


def test_an_objective_that_forgets_the_mask_is_still_asked_about_chosen_tokens_only():
    step = random_step(0)
    careless = Method((), lambda rows, plan: 2.0 * rows.logp)
    assert torch.equal(changed(careless, step, Plan.neutral(step)), step.mask)
