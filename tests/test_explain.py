"""What is told of methods without running them is what they are when they run."""

from itertools import permutations
from pathlib import Path

import pytest
import torch

from forkpoint import catalog, doses, explain, papers
from forkpoint.batch import StepBatch
from forkpoint.credit._select import seeing_draws
from forkpoint.methods import Method, build
from forkpoint.methods._compose import compose
from forkpoint.signatures import filled_by

NAMES = catalog.names("methods")
CREDIT = Path(catalog.__file__).parent / "credit"
every_method = pytest.mark.parametrize("name", NAMES)
WITH_SHARES = [name for name in NAMES if doses.share_settings(name)]


def folders_of(made: Method) -> tuple[list[str], set[str]]:
    """Names of the credit rules and of the controllers' laws: the functions that made them."""
    rules = [rule.__qualname__.partition(".")[0] for rule in made.credit]
    laws = {controller.law.__qualname__.partition(".")[0] for controller in made.controllers}
    return list(dict.fromkeys(rules)), laws


@every_method
def test_what_is_read_from_the_source_is_what_the_method_is(name: str):
    told, made = explain.facts(name), build(name)
    rules, laws = folders_of(made)
    assert dict(told.settings) == dict(made.settings)
    assert told.reads == made.reads and told.rewards == made.rewards and told.reduction == made.reduction
    assert told.needs_off_policy == made.needs_off_policy
    assert told.flags.get("intervenes", False) == made.intervenes
    # some rules run only at other settings than the defaults
    assert [rule for rule in told.plans if rule in rules] == rules and set(told.controllers) == laws


def test_a_composition_is_told_as_it_is_made_or_refused_in_the_same_words():
    """Every third ordered pair: each method comes first and last, beside each kind of other."""
    refused, built = 0, {name: build(name) for name in NAMES}
    for pair in list(permutations(NAMES, 2))[::3]:
        name = "+".join(pair)
        try:
            made = compose(*(built[part] for part in pair))
        except ValueError as error:
            refused += 1
            with pytest.raises(ValueError) as told:
                explain.facts(name)
            assert str(told.value) == str(error) and str(error).count("\n") == 0
            continue
        facts = explain.facts(name)
        assert dict(facts.settings) == dict(made.settings), name
        assert (facts.reads, facts.reduction, facts.rewards) == (made.reads, made.reduction, made.rewards), name
        assert facts.needs_off_policy == made.needs_off_policy, name
        assert set(folders_of(made)[0]) <= set(facts.plans), name
    assert 0 < refused < len(NAMES) * (len(NAMES) - 1) // 3


@every_method
def test_a_trainer_is_named_where_it_fills_every_field_that_the_method_reads(name: str):
    lacking = {field for field in build(name).reads if field not in filled_by("trl")}
    assert ("trl" in explain.facts(name).trainers) == (not lacking)
    assert all(any(field in said for _, said in explain.lines(explain.facts(name))) for field in lacking)


@every_method
def test_a_status_above_quoted_names_the_test_behind_it(name: str):
    facts = explain.facts(name)
    assert facts.status in (*papers.STATUSES, explain.OURS)
    assert bool(facts.checked_by) == (facts.status in papers.CHECKED)


@pytest.mark.parametrize("name", ["fork_thermostat", "entropy_budget"])
def test_what_no_paper_claims_is_called_ours(name: str):
    assert (explain.facts(name).status, explain.facts(name).checked_by) == (explain.OURS, "")


def test_a_composition_is_checked_as_far_as_its_weakest_part():
    order = [*papers.STATUSES, explain.OURS]
    parts = [explain.facts(name).status for name in ("hicra", "kl_cov")]
    assert explain.facts("hicra+kl_cov").status == max(parts, key=order.index)


# ---- doses


def step_of(num_tokens: int) -> StepBatch:
    """A step of one row in which every token qualifies for every rule."""
    draw = torch.Generator().manual_seed(num_tokens)
    logp = torch.randn(2, num_tokens, generator=draw).double()
    mask = torch.ones(2, num_tokens, dtype=torch.bool)
    mask[1, num_tokens // 2 :] = False
    entropy = torch.rand(2, num_tokens, generator=draw)
    return StepBatch(logp, logp, mask, torch.tensor([1.0, -1.0]).double(), entropy=entropy)


@pytest.mark.parametrize("name", WITH_SHARES)
@pytest.mark.parametrize("num_tokens", [3, 100, 777, 5000])
@pytest.mark.parametrize("share", [None, 1e-5, 0.0021, 0.3, 1.0])
def test_a_dose_is_what_the_method_asks_for_in_a_step_of_so_many_tokens(name: str, num_tokens: int, share):
    step = step_of(num_tokens)
    settings = {} if share is None else dict.fromkeys(doses.share_settings(name), share)
    with seeing_draws() as seen:
        build(name, **settings).plan(step)
    found = doses.doses(name, int(step.mask.sum()), settings)
    assert [draw.asked for draw in seen] == [dose.tokens for dose in found]


def test_no_setting_that_is_called_a_share_of_tokens_is_missed():
    assert {"kl_cov", "clip_cov", "forking_tokens"} <= set(WITH_SHARES)
    for name in NAMES:
        for rule in explain.facts(name).plans:
            source = (CREDIT / f"{rule}.py").read_text()
            assert ("check_share(" in source) == (name in WITH_SHARES), name


@pytest.mark.parametrize("name", WITH_SHARES)
@pytest.mark.parametrize("share", [20.0, 1.5, 0.0, -0.1])
def test_a_share_that_is_none_is_refused_in_the_method_s_own_words(name: str, share: float):
    for setting in doses.share_settings(name):
        with pytest.raises(ValueError) as made:
            build(name, **{setting: share})
        with pytest.raises(ValueError) as told:
            doses.doses(name, 1000, {setting: share})
        assert str(made.value) == f"{name}: {told.value}"


def test_what_is_likely_to_be_wrong_is_said_and_nothing_else():
    def note(**settings: float) -> str:
        return doses.doses("kl_cov", 10_000, settings)[0].note

    assert note() == note(share=0.05) == ""
    assert note(share=0.2).endswith("100 times the paper; if 0.2 % is meant, write 0.002")
    assert note(share=2e-5) == "share=2e-05 is 0.2 tokens, so one is taken: 5 times what is set"
    assert doses.doses("kl_cov", 10_000, {"share": 1e-4})[0].note == "", "one token is what was asked for"


def test_doses_of_a_composition_go_by_its_names():
    found = {dose.setting: dose.tokens for dose in doses.doses("forking_tokens+kl_cov", 1000, {"kl_cov.share": 0.01})}
    assert found == {"forking_tokens.share": 200, "kl_cov.share": 10}


def test_a_note_is_a_whole_sentence_of_the_docstring():
    for setting, sentence in doses.notes("entropy_bonus"):
        words = " ".join(catalog.docstring("methods", "entropy_bonus").split())
        assert sentence.split(": ", 1)[-1] in words and setting in sentence
