"""What every role promises, checked on every file of the folder."""

import re
from dataclasses import replace

import pytest
import torch

from forkpoint import catalog, metrics, roles
from forkpoint.batch import Label, StepBatch

NAMES = catalog.names("roles")
LABELS = [name for name in NAMES if roles.reads(name) == ("label",)]
every_role = pytest.mark.parametrize("name", NAMES)

ROWS, TOKENS = 6, 5


def labeled_step() -> StepBatch:
    draw = torch.Generator().manual_seed(0)
    tool = torch.arange(ROWS * TOKENS).view(ROWS, TOKENS) % 7 == 1
    return StepBatch(
        logp=-torch.rand(ROWS, TOKENS, generator=draw),
        logp_old=-torch.rand(ROWS, TOKENS, generator=draw),
        mask=(torch.rand(ROWS, TOKENS, generator=draw) < 0.8) & ~tool,
        advantage=torch.randn(ROWS, generator=draw),
        entropy=torch.rand(ROWS, TOKENS, generator=draw),
        label=torch.arange(ROWS * TOKENS).view(ROWS, TOKENS) % len(Label),
        tool=tool,
        entropy_reference=2 * torch.rand(ROWS, TOKENS, generator=draw),
    )


@every_role
def test_a_role_is_a_mask_that_some_tokens_have(name):
    step = labeled_step()
    mask = catalog.get("roles", name)(step)
    assert mask.dtype is torch.bool and mask.shape == step.mask.shape
    assert mask.any() and not mask.all()


@every_role
def test_a_role_never_looks_at_the_live_policy(name):
    step = labeled_step()
    other = replace(step, logp=step.logp * 5, logp_old=step.logp, entropy=5 - step.entropy, advantage=-step.advantage)
    assert torch.equal(catalog.get("roles", name)(other), catalog.get("roles", name)(step))


@every_role
def test_the_order_of_rows_never_matters(name):
    step, order = labeled_step(), torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    role = catalog.get("roles", name)
    assert torch.equal(role(step.rows(order)), role(step)[order])


@every_role
def test_what_it_reads_is_enough_and_what_is_missing_is_named(name):
    step = labeled_step()
    bare = StepBatch(
        step.logp, step.logp_old, step.mask, step.advantage, **{f: getattr(step, f) for f in roles.reads(name)}
    )
    assert torch.equal(catalog.get("roles", name)(bare), catalog.get("roles", name)(step))
    assert name in roles.masks(bare)
    for field in roles.reads(name):
        lacking = replace(step, **{field: None})
        assert name not in roles.masks(lacking)
        with pytest.raises(ValueError, match=f"StepBatch.{field} .* role '{name}'"):
            catalog.get("roles", name)(lacking)


@every_role
def test_what_a_masked_token_or_padding_holds_never_matters(name):
    step = labeled_step()
    grown = {f: torch.nn.functional.pad(getattr(step, f), (0, 2)) for f in ("logp", "logp_old", *roles.reads(name))}
    if "entropy_reference" in grown:
        grown["entropy_reference"] = torch.where(pad(step.mask), grown["entropy_reference"], torch.nan)
    wide = StepBatch(mask=pad(step.mask), advantage=step.advantage, **grown)
    role = catalog.get("roles", name)
    assert torch.equal((role(wide) & wide.mask)[:, :TOKENS], role(step) & step.mask)
    assert not (role(wide) & wide.mask)[:, TOKENS:].any()


def pad(mask):
    return torch.nn.functional.pad(mask, (0, 2))


@every_role
def test_the_first_line_names_its_source(name):
    assert re.search(r"arXiv:\d{4}\.\d{5}|definition\)", catalog.summary("roles", name))


def test_roles_of_labels_are_the_labels_and_never_overlap():
    step = labeled_step()
    masks = {name: mask for name, mask in roles.masks(step).items() if name in LABELS}
    assert masks.keys() == set(LABELS) == {label.name.lower() for label in Label} - {"other"}
    assert torch.equal(sum(mask.int() for mask in masks.values()), (step.label != Label.OTHER).int())


def test_no_labels_no_masks():
    assert roles.masks(replace(labeled_step(), label=None, tool=None, entropy_reference=None)) == {}


@every_role
def test_a_role_column_is_the_metric_of_that_role_alone(name):
    step = labeled_step()
    readings = metrics.measure(step, roles.masks(step))
    inside = step.mask & roles.masks(step)[name]
    assert readings[f"entropy/full/{name}"].value == pytest.approx(step.entropy[inside].double().mean().item())
    assert readings[f"entropy/full/{name}"].count == inside.sum()


def test_role_columns_are_exactly_the_metrics_that_say_so():
    step = labeled_step()
    with_roles, without = metrics.measure(step, roles.masks(step)), metrics.measure(step)
    said = {key for key, definition in metrics.definitions().items() if definition.by_role and key in without}
    assert with_roles.keys() - without.keys() == {f"{key}/{name}" for key in said for name in NAMES}


def test_a_role_without_tokens_reads_nan_and_not_zero():
    step = replace(labeled_step(), label=torch.full((ROWS, TOKENS), int(Label.EXECUTION)))
    value = metrics.measure(step, roles.masks(step))["entropy/full/fork"].value
    assert value != value
