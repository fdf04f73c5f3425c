"""What every credit rule promises, whoever adds one."""

import inspect
import re
from dataclasses import replace
from functools import cache
from importlib import import_module

import pytest
import torch
from random_steps import padded, poisoned, random_step, without_tokens

from forkpoint import catalog
from forkpoint.batch import Plan
from forkpoint.credit import does_to_advantage, is_row_local, per_micro_batch

NAMES = catalog.names("credit")
every_rule = pytest.mark.parametrize("name", NAMES)
seeds = pytest.mark.parametrize("seed", range(6))
KEY = (11, 3)


def settings_of(name):
    return inspect.signature(catalog.get("credit", name)).parameters


every_covariance_rule = pytest.mark.parametrize(
    "name", [name for name in NAMES if {"share", "at"} <= {*settings_of(name)}]
)
"""those that choose a share of the tokens by their covariance"""


@cache
def lively(name):
    """The rule with doses that a step of thirty tokens shows, its file may say which; the rest as in the paper."""
    doses = {"share": 0.3} | getattr(import_module(f"forkpoint.credit.{name}"), "LIVELY", {})
    return catalog.get("credit", name)(**{k: v for k, v in doses.items() if k in settings_of(name)})


every_row_local_rule = pytest.mark.parametrize("name", [name for name in NAMES if is_row_local(lively(name))])
every_wide_rule = pytest.mark.parametrize("name", [name for name in NAMES if not is_row_local(lively(name))])


def planned(name, step, key=KEY):
    return lively(name)(step, Plan.neutral(step), key)


def same_plan(one, other):
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("advantage", "weight", "mark"))


@every_rule
def test_a_rule_does_something(name):
    steps = [random_step(seed) for seed in range(10)]
    assert any(not same_plan(planned(name, step), Plan.neutral(step)) for step in steps)


@every_rule
def test_what_a_rule_does_to_the_advantage_is_as_declared(name):
    """Not looked at, gone by, made another of, or new from rewards, whatever stood there."""
    steps = [random_step(seed) for seed in range(10)]
    kept = all(torch.equal(planned(name, step).advantage, Plan.neutral(step).advantage) for step in steps)
    others = [replace(step, advantage=step.advantage.flip(0) * 2) for step in steps]
    same = all(
        torch.equal(planned(name, step).advantage, planned(name, other).advantage)
        for step, other in zip(steps, others, strict=True)
    )
    seen = any(
        not torch.equal(getattr(planned(name, step), part), getattr(planned(name, other), part))
        for step, other in zip(steps, others, strict=True)
        for part in ("weight", "mark")
    )
    changed = "taken" if same else "shaped"
    assert does_to_advantage(lively(name)) == (("read" if seen else "kept") if kept else changed)


@every_rule
@seeds
def test_a_rule_is_pure(name, seed):
    step = random_step(seed)
    before = step.rows(slice(None))
    before = replace(before, logp=step.logp.clone(), mask=step.mask.clone(), advantage=step.advantage.clone())
    neutral, plan = Plan.neutral(step), planned(name, step)
    lively(name)(step, neutral, KEY)
    assert same_plan(neutral, Plan.neutral(step)) and same_plan(plan, planned(name, step))
    assert torch.equal(step.logp, before.logp) and torch.equal(step.mask, before.mask)
    assert torch.equal(step.advantage, before.advantage)


@every_rule
def test_a_rule_carries_no_gradient(name):
    step = random_step(0)
    plan = planned(name, replace(step, logp=step.logp.requires_grad_()))
    assert not any(part.requires_grad for part in (plan.advantage, plan.weight, plan.mark))


@every_rule
@seeds
def test_order_of_rows_does_not_matter(name, seed):
    step = random_step(seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    assert same_plan(planned(name, step.rows(order)), planned(name, step).rows(order))


@every_rule
@seeds
def test_ties_are_settled_by_identity_and_not_by_place(name, seed):
    """Four answers alike in two pairs: whichever comes first in the batch, the same rows are chosen."""
    step = random_step(seed)
    twice = step.rows(torch.tensor([0, 1, 0, 1]))
    twice = replace(twice, row_id=torch.tensor([4, 9, 2, 7]), mask=torch.ones_like(twice.mask))
    order = torch.tensor([2, 3, 1, 0])
    assert same_plan(planned(name, twice.rows(order)), planned(name, twice).rows(order))


@every_rule
@seeds
def test_masked_tokens_and_padding_never_matter(name, seed):
    step = random_step(seed)
    plan = planned(name, step)
    assert same_plan(planned(name, poisoned(step)), plan)
    larger = planned(name, poisoned(padded(step)))
    assert torch.equal(larger.weight[:5, :7], plan.weight) and torch.equal(larger.mark[:5, :7], plan.mark)
    assert torch.equal(larger.advantage[:5, :7][step.mask], plan.advantage[step.mask])
    assert (larger.weight[5:] == 1).all() and not larger.mark[5:].any() and not larger.mark[:, 7:].any()


@every_rule
@seeds
def test_nothing_is_chosen_outside_the_mask(name, seed):
    step = random_step(seed)
    plan = planned(name, step)
    assert (plan.weight[~step.mask] == 1).all() and not plan.mark[~step.mask].any()


@every_covariance_rule
@pytest.mark.parametrize("share", [2e-4, 0.1, 0.5, 1.0])
def test_never_more_than_the_share_and_at_least_one(name, share):
    for seed in range(10):
        step = random_step(seed)
        plan = catalog.get("credit", name)(share=share)(step, Plan.neutral(step), KEY)
        num_chosen, num_tokens = int((plan.weight == 0).sum() + plan.mark.sum()), int(step.mask.sum())
        assert num_chosen <= max(1, int(share * num_tokens))


@every_covariance_rule
@pytest.mark.parametrize("advantage", [0.0, 0.1, -3.3])
def test_no_difference_in_advantage_no_choice(name, advantage):
    """Covariances are then zero up to rounding, and choosing by rounding is choosing at random."""
    step = replace(random_step(1), advantage=torch.full((5,), advantage))
    assert same_plan(planned(name, step), Plan.neutral(step))


@every_covariance_rule
def test_a_row_alone_is_left_alone(name):
    for seed in range(10):
        step = random_step(seed, num_rows=1)
        assert same_plan(planned(name, step), Plan.neutral(step))


@every_rule
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 1), (3, 4)])
def test_an_empty_selection_is_legal(name, shape):
    step = without_tokens(shape)
    plan, neutral = planned(name, step), Plan.neutral(step)
    assert torch.equal(plan.weight, neutral.weight) and torch.equal(plan.mark, neutral.mark)
    assert plan.advantage.shape == neutral.advantage.shape and plan.advantage.isfinite().all()


@every_covariance_rule
def test_without_tokens_nothing_is_planned(name):
    step = without_tokens((3, 4))
    assert same_plan(planned(name, step), Plan.neutral(step))


@every_covariance_rule
def test_a_nan_among_the_tokens_chooses_nothing(name):
    """Every covariance is nan then; the loss shows it, the plan must not turn it into a choice."""
    step = random_step(0)
    row, token = step.mask.nonzero()[0].tolist()
    step.logp[row, token] = torch.nan
    assert same_plan(planned(name, step), Plan.neutral(step))


@every_rule
def test_a_rule_keeps_the_weights_and_marks_it_is_given(name):
    step = random_step(2)
    plan, neutral = planned(name, step), Plan.neutral(step)
    later = lively(name)(step, replace(neutral, weight=neutral.weight * 0.25, mark=step.mask.roll(1)), KEY)
    assert torch.equal(later.weight, plan.weight * 0.25) and torch.equal(later.mark, plan.mark | step.mask.roll(1))
    assert torch.equal(later.advantage, plan.advantage)


@every_covariance_rule
def test_rules_add_to_the_plan_they_are_given(name):
    step = random_step(2)
    given_plan = Plan(torch.full_like(step.logp, 0.5), torch.full_like(step.logp, 0.25), step.mask.roll(1))
    plan = lively(name)(step, given_plan, KEY)
    assert torch.equal(plan.advantage, given_plan.advantage) and (plan.mark >= given_plan.mark).all()
    assert set(plan.weight.unique().tolist()) <= {0.0, 0.25}


@every_rule
def test_one_micro_batch_is_the_whole_step(name):
    step = random_step(3)
    scoped = per_micro_batch(lively(name), torch.tensor([3, 1, 0, 4, 2]))
    assert same_plan(scoped(step, Plan.neutral(step), KEY), planned(name, step))


@every_row_local_rule
def test_a_row_local_rule_does_not_see_the_cut(name):
    parts = [torch.tensor([0, 1]), torch.tensor([3]), torch.tensor([4, 2])]
    for step in map(random_step, range(10)):
        scoped = per_micro_batch(lively(name), *parts)
        assert same_plan(scoped(step, Plan.neutral(step), KEY), planned(name, step))


@every_wide_rule
def test_micro_batch_scope_depends_on_the_cut(name):
    """The reason why whole-step is the default."""
    parts = [torch.tensor([0, 1]), torch.tensor([2, 3, 4])]
    steps = [random_step(seed) for seed in range(10)]
    scoped = [per_micro_batch(lively(name), *parts)(step, Plan.neutral(step), KEY) for step in steps]
    assert any(not same_plan(plan, planned(name, step)) for plan, step in zip(scoped, steps, strict=True))


@every_rule
@pytest.mark.parametrize("parts", [[[0, 1]], [[0, 1, 2], [2, 3, 4]], [], [[0, 1, 2, 3, 4, 5]]])
def test_parts_must_name_every_row_once(name, parts):
    step = random_step(0)
    with pytest.raises(ValueError, match="each of the 5 rows once"):
        per_micro_batch(lively(name), *map(torch.tensor, parts))(step, Plan.neutral(step), KEY)


@pytest.mark.parametrize("name", [name for name in NAMES if "share" in settings_of(name)])
@pytest.mark.parametrize("share", [-0.1, 0.0, 1.5, float("nan")])
def test_a_share_is_a_fraction(name, share):
    with pytest.raises(ValueError, match=r"^share=.*in \(0, 1\] of the step's tokens; 0\.2 % is 0\.002"):
        catalog.get("credit", name)(share=share)


@every_rule
def test_every_rule_names_its_source_and_shows_a_number(name):
    assert re.search(r"arXiv:\d{4}\.\d{5}", import_module(f"forkpoint.credit.{name}").__doc__)
    assert ">>> " in catalog.get("credit", name).__doc__


# ---- Clip-Cov's own


def clipped_step():
    """Two answers, on-policy but for the tokens whose ratio is far off in the direction of the advantage."""
    old = torch.tensor([[-1.0, -1.0, -3.0], [-3.0, -3.0, -1.0]])
    log_ratio = torch.tensor([[0.0, 0.5, 0.0], [0.0, -0.5, 0.0]])
    return replace(random_step(0, 2, 3), logp=old + log_ratio, logp_old=old, mask=torch.ones(2, 3, dtype=torch.bool))


def test_a_token_that_the_clip_already_stopped_is_no_candidate():
    step = replace(clipped_step(), advantage=torch.tensor([2.0, -2.0]))
    rule = catalog.get("credit", "clip_covariance")
    unclipped = rule(share=1.0, low=0.5, high=99.0)(step, Plan.neutral(step), KEY).weight
    clipped = rule(share=1.0, low=0.5, high=99.0, clip_low=0.2, clip_high=0.2)(step, Plan.neutral(step), KEY).weight
    assert unclipped.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert clipped.tolist() == [[0, 1, 1], [0, 1, 1]]


def test_the_band_is_open_at_both_ends():
    step = replace(clipped_step(), logp=clipped_step().logp_old, advantage=torch.tensor([2.0, -2.0]))
    rule = catalog.get("credit", "clip_covariance")
    mean = float(step.logp.mean())  # -2, so the six covariances are 2, 2, -2 in both rows
    assert mean == -2.0
    for low, high, expected in ((2.0, 9.0, 0), (0.0, 2.0, 0), (1.9, 2.1, 4)):
        assert (rule(share=1.0, low=low, high=high)(step, Plan.neutral(step), KEY).weight == 0).sum() == expected


@pytest.mark.parametrize(
    "bad", [{"low": 5.0, "high": 5.0}, {"low": float("nan")}, {"clip_low": 1.1}, {"clip_high": -0.1}]
)
def test_an_empty_band_or_a_negative_bound_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        catalog.get("credit", "clip_covariance")(**bad)


def test_parts_draw_apart_even_where_the_host_gave_no_row_ids():
    """Two micro-batches with the same rows: numbered from 0 each, they would draw the same tokens for ever."""
    rows = torch.arange(4).repeat(2)
    twice = replace(random_step(0, 4, 9).rows(rows), row_id=None)
    rule = per_micro_batch(catalog.get("credit", "clip_covariance")(share=0.1), torch.arange(4), torch.arange(4, 8))
    drawn = [rule(twice, Plan.neutral(twice), (0, step)).weight == 0 for step in range(20)]
    assert all(part.any() for half in drawn for part in (half[:4], half[4:]))
    assert any(not torch.equal(both[:4], both[4:]) for both in drawn)
