"""What every metric promises, checked on every file of the folder: a new file is under these laws with no edit here."""

import inspect
import math
import re
from dataclasses import fields, replace
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
import torch

from forkpoint import catalog, metrics
from forkpoint.batch import Definition, Mergeable, StepBatch

NAMES = catalog.names("metrics")
every_metric = pytest.mark.parametrize("name", NAMES)

GROUPS, SIZE, TOKENS = 3, 4, 7
ROWS = GROUPS * SIZE
OPTIONAL = {f.name for f in fields(StepBatch) if f.default is None} - {"ranks"}
FLOATS = ("logp", "logp_old", "entropy")


def full_step(seed: int = 0) -> StepBatch:
    """Ragged rows in three groups of four, every field filled, one row without a chosen token."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, TOKENS + 1, (ROWS,), generator=draw)
    lengths[5] = 0
    logp_old = -3 * torch.rand(ROWS, TOKENS, generator=draw)
    return StepBatch(
        logp=logp_old + 0.3 * torch.randn(ROWS, TOKENS, generator=draw),
        logp_old=logp_old,
        mask=torch.arange(TOKENS) < lengths.unsqueeze(1),
        advantage=torch.randn(ROWS, generator=draw),
        entropy=2 * torch.rand(ROWS, TOKENS, generator=draw),
        token_ids=torch.randint(0, 50, (ROWS, TOKENS), generator=draw),
        label=torch.randint(0, 5, (ROWS, TOKENS), generator=draw),
        reward=torch.rand(ROWS, generator=draw),
        correct=torch.rand(ROWS, generator=draw) < 0.5,
        group=torch.arange(GROUPS).repeat_interleave(SIZE),
        row_id=torch.arange(ROWS) + 100,
        rank=1 + 9 * torch.rand(ROWS, 6, generator=draw),
    )


def columns(name: str) -> dict[str, dict[str, Any]]:
    """The metric's columns: options by key."""
    member = import_module(f"forkpoint.metrics.{name}")
    return getattr(member, "COLUMNS", {member.ABOUT.key: {}})


def about(name: str) -> Definition:
    return import_module(f"forkpoint.metrics.{name}").ABOUT


def over_completions(name: str) -> bool:
    """It weighs whole completions: no token's number can reach it."""
    return about(name).token_set == "whole completions"


def over_words(name: str) -> bool:
    """It looks at which tokens were written, so that a log-prob or an advantage cannot reach it."""
    return "token_ids" in about(name).reads and not over_completions(name)


def readings(name: str, step: StepBatch) -> dict[str, Mergeable]:
    """This metric's columns of the step, through the one door that trainers use."""
    found = {key: reading for key, reading in metrics.measure(step).items() if key in columns(name)}
    assert found, f"{name} filled none of its columns from a step with every field"
    return found


def assert_same(left: dict[str, Mergeable], right: dict[str, Mergeable]) -> None:
    assert left.keys() == right.keys()
    for key in left:
        assert left[key].value == pytest.approx(right[key].value, rel=1e-12, abs=1e-12, nan_ok=True), key


@every_metric
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_masked_token_never_matters(name, poison):
    step = full_step()
    poisoned = {field: torch.where(step.mask, getattr(step, field), poison) for field in FLOATS}
    hidden = replace(step, **poisoned, label=torch.where(step.mask, step.label, -1))
    assert_same(readings(name, hidden), readings(name, step))


@every_metric
@pytest.mark.parametrize("cut", [(4,), (8,), (4, 8)])
def test_parts_add_up_to_the_whole(name, cut):
    step = full_step()
    edges = [0, *cut, ROWS]
    parts = [readings(name, step.rows(slice(a, b))) for a, b in pairwise(edges)]
    merged = parts[0]
    for part in parts[1:]:
        merged = {key: merged[key] + part[key] for key in part}
    assert_same(merged, readings(name, step))


@every_metric
def test_an_empty_part_changes_nothing(name):
    step = full_step()
    whole, nothing = readings(name, step), readings(name, step.rows(slice(0, 0)))
    assert_same({key: nothing[key] + whole[key] for key in whole}, whole)
    assert_same({key: whole[key] + nothing[key] for key in whole}, whole)
    assert_same({key: nothing[key] + nothing[key] for key in whole}, {key: nothing[key] for key in whole})


@every_metric
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_rows_never_matters(name, seed):
    step = full_step()
    shuffled = step.rows(torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed)))
    assert_same(readings(name, shuffled), readings(name, step))


@every_metric
def test_padding_never_matters(name):
    step = full_step()
    wide = {field: torch.nn.functional.pad(getattr(step, field), (2, 3), value=9) for field in (*FLOATS, "label")}
    wide["token_ids"] = torch.nn.functional.pad(step.token_ids, (2, 3))
    wide["mask"] = torch.nn.functional.pad(step.mask, (2, 3))
    assert_same(readings(name, replace(step, **wide)), readings(name, step))


@every_metric
def test_precision_and_gradient_of_the_host_never_matter(name):
    step = full_step()
    exact = {field: getattr(step, field).double().requires_grad_() for field in FLOATS}
    assert_same(readings(name, replace(step, **exact, advantage=step.advantage.double())), readings(name, step))


@every_metric
def test_a_chosen_nan_is_never_hidden(name):
    step = full_step()
    first = torch.zeros_like(step.mask)
    first[0, 0] = True
    broken = {field: torch.where(first, math.nan, getattr(step, field)) for field in FLOATS}
    if about(name).unit != "tokens":  # the nan of a row's advantage is one for each of its tokens
        broken["advantage"] = torch.where(first.any(1), math.nan, step.advantage)
    for key, reading in readings(name, replace(step, **broken)).items():
        if over_completions(name) or over_words(name):
            assert reading.value == readings(name, step)[key].value
        else:
            assert math.isnan(reading.value) or (about(name).unit == "tokens" and reading.value == 1), key


@every_metric
def test_no_chosen_token_is_legal_and_never_reads_as_a_measurement(name):
    step = replace(full_step(), mask=torch.zeros(ROWS, TOKENS, dtype=torch.bool))
    for key, reading in readings(name, step).items():
        over_tokens = not over_completions(name) and about(name).unit != "tokens"
        assert math.isnan(reading.value) == over_tokens, key


@every_metric
def test_reads_are_enough(name):
    step = full_step()
    bare = replace(step, **{field: None for field in OPTIONAL - set(about(name).reads)})
    assert_same(readings(name, bare), readings(name, step))


@every_metric
def test_reads_are_needed(name):
    assert set(about(name).reads) <= OPTIONAL
    for field in about(name).reads:
        step = replace(full_step(), **{field: None})
        assert not columns(name).keys() & metrics.measure(step).keys()
        with pytest.raises(ValueError, match=f"StepBatch.{field}"):
            for options in columns(name).values():
                catalog.get("metrics", name)(step, **options)


@every_metric
def test_the_definition_is_complete(name):
    definition = about(name)
    assert definition.key in columns(name)
    for field in ("key", "estimator", "reduction", "unit", "temperature", "token_set"):
        text = getattr(definition, field)
        assert text and text == text.strip(), field


def test_keys_are_unique():
    keys = [key for name in NAMES for key in columns(name)]
    assert len(keys) == len(set(keys))
    assert set(keys) == metrics.definitions().keys()
    assert all(definition.key == key for key, definition in metrics.definitions().items())


@every_metric
def test_every_option_has_a_default(name):
    step, *options = inspect.signature(catalog.get("metrics", name)).parameters.values()
    assert step.annotation is StepBatch
    assert all(option.default is not inspect.Parameter.empty for option in options)


@every_metric
def test_the_first_paragraph_names_its_source(name):
    first = catalog.docstring("metrics", name).partition("\n\n")[0]
    assert re.search(r"arXiv:\d{4}\.\d{5}|\(?[A-Z]\w+ (& \w+ )?\d{4}|definition\)", first), first
    assert "\n" not in first, "the first line is the summary that the command line shows: one sentence with its source"


@every_metric
def test_a_reading_is_mergeable(name):
    for reading in readings(name, full_step()).values():
        assert isinstance(reading, Mergeable)
        assert type(reading + reading) is type(reading)
        assert type(reading.value) is float
