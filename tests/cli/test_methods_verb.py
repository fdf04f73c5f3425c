"""``forkpoint methods`` and ``forkpoint cite``."""

import json
import re
from pathlib import Path

import pytest

import forkpoint
from forkpoint.doses import doses
from tests.cli.conftest import KL_COV, Forkpoint, write_run


def test_methods_lists_what_the_folder_holds(forkpoint_: Forkpoint):
    told = forkpoint_("methods")
    for name in forkpoint.catalog.names("methods"):
        assert re.search(rf"^ {name} ", told.out, re.MULTILINE)
    listed = json.loads(forkpoint_("methods", "--json").out)
    kl_cov = next(entry for entry in listed if entry["name"] == "kl_cov")
    assert kl_cov["settings"] == {"share": 0.002, "coef": 1.0, "at": "update"}
    assert kl_cov["flags"]["needs_off_policy"] is True
    assert kl_cov["sources"] == ["2505.22617"]


def test_the_table_says_what_a_method_plans_reads_and_how_well_it_is_checked(forkpoint_: Forkpoint):
    listed = {entry["name"]: entry for entry in json.loads(forkpoint_("methods", "--json").out)}
    assert listed["kl_cov"]["plans"] == ["kl_covariance"] and listed["kl_cov"]["trainers"] == ["trl"]
    assert listed["kl_cov"]["status"] == "exact" and "::" in listed["kl_cov"]["checked_by"]
    assert listed["entropy_bonus"]["reads"] == ["entropy"] and listed["grpo"]["plans"] == []


def test_methods_explains_one_with_its_docstring_and_its_parts(forkpoint_: Forkpoint):
    told = forkpoint_("methods", "kl_cov").out
    assert told.startswith(forkpoint.catalog.docstring("methods", "kl_cov").strip())
    assert re.search(r"credit rules +kl_covariance *$", told, re.MULTILINE)
    assert re.search(r"on-policy +does nothing: needs ratios other than 1", told)


def test_methods_explains_a_composition(forkpoint_: Forkpoint):
    told = forkpoint_("methods", "hicra+kl_cov")
    assert told.code == 0 and told.out.startswith("the objective of kl_cov; the credit rules of hicra as well\n")
    assert re.search(r"credit rules .*role_bonus, then kl_covariance", told.out)
    found = json.loads(forkpoint_("methods", "hicra+kl_cov", "--json").out)[0]
    assert found["sources"] == ["2509.03646", "2505.22617"] and "clip_low" not in found["settings"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "grpo+kl_cov",
            "grpo+kl_cov: grpo and kl_cov each bring an objective and a step has one loss; drop one of them",
        ),
        ("kl_cov+kl_cov", "kl_cov+kl_cov: name two different methods or more, such as hicra+kl_cov"),
        (
            "greedy",
            "no 'greedy' in methods; it is a decoder: see forkpoint decode --help and docs/reference/decoders.md",
        ),
        ("hicra+kl_vov", "no 'kl_vov' in methods; did you mean 'kl_cov'?"),
        ("kl_cov --tokens 100 --settings k=0.2", "kl_cov has no setting 'k'; there is share, coef, at"),
        ("kl_cov --tokens 100 --settings share=20", "share=20.0: it is a fraction in (0, 1] of the step's tokens"),
        ("kl_cov --tokens 100 --settings share=-0.1", "share=-0.1: it is a fraction in (0, 1] of the step's tokens"),
        ("kl_cov --tokens 100 --settings share=few", "kl_cov: share='few': it must be a finite number"),
        ("kl_cov --tokens 0", "tokens=0: give the tokens of one optimizer step, such as 40000"),
        ("kl_cov --tokens -100", "tokens=-100: give the tokens of one optimizer step, such as 40000"),
        ("--tokens 100", "methods: --tokens and --settings count the tokens of one method; name it, and give --tokens"),
        ("kl_cov --settings share=0.1", "methods: --tokens and --settings count the tokens of one method"),
    ],
)
def test_what_cannot_be_told_is_one_line(words: str, says: str, forkpoint_: Forkpoint):
    told = forkpoint_("methods", *words.split())
    assert (told.code, told.out) == (2, "") and says in told.error


def test_the_calculator_counts_tokens(forkpoint_: Forkpoint):
    told = forkpoint_("methods", "kl_cov", "--tokens", "40000")
    assert re.search(r"share +0\.002 +0\.002 +80 +0\.2 %", told.out) and told.err == ""
    assert "coef: Settings of the paper: coef 1" in told.out
    found = json.loads(forkpoint_("methods", "kl_cov", "--tokens", "40000", "--json").out)
    assert (found["shares"][0]["tokens"], found["notes"][0]["setting"]) == (80, "coef")
    assert forkpoint_("methods", "grpo", "--tokens", "40").out.startswith("grpo takes no share of the step's tokens")


def test_a_percentage_for_a_share_and_a_floor_that_decides_are_warned_of(forkpoint_: Forkpoint):
    told = forkpoint_("methods", "kl_cov", "--tokens", "40000", "--settings", "share=0.2")
    assert told.code == 0 and told.err.startswith("forkpoint: warning: share=0.2 is 20 % of the tokens, 100 times")
    told = forkpoint_("methods", "clip_cov", "--tokens", "2000")
    assert told.err == "forkpoint: warning: share=0.0002 is 0.4 tokens, so one is taken: 2.5 times what is set\n"


def test_the_note_on_settings_says_what_the_calculator_says():
    text = (Path(__file__).parents[2] / "docs" / "choosing-settings.md").read_text()
    rows = re.findall(r"^\| (\w+) \| share=([\d.]+) \| (\d+) \| (\d+) \| ([\d.]+) % \|$", text, re.MULTILINE)
    assert len(rows) >= 11
    for name, share, num_tokens, chosen, percent in rows:
        (dose,) = doses(name, int(num_tokens), {"share": float(share)})
        assert (dose.tokens, f"{100 * dose.real_share:.3g}") == (int(chosen), percent), (name, share, num_tokens)
    (small,), (piece,), (whole,) = (doses("clip_cov", num, {}) for num in (2000, 2500, 40_000))
    assert "2.5 times what is set" in small.note and "2.5 times what was set" in text
    assert (16 * piece.tokens, whole.tokens) == (16, 8) and "takes 16 tokens where the whole step asks for 8" in text
    assert doses("kl_cov", 12_800, {"share": 0.001})[0].tokens == 12 and "(share=0.001 of 12800 is 12)" in text


def test_cite_prints_the_papers_of_what_ran_and_the_programs(forkpoint_: Forkpoint):
    run = str(write_run(Path("run"), method=KL_COV))
    keys = re.findall(r"^@\w+\{(\w+),", forkpoint_("cite", run, "kl_cov").out, re.MULTILINE)
    assert keys == ["cui2025entropy", "vonwerra2020trl", "forkpoint"]
    assert re.findall(r"^@\w+\{(\w+),", forkpoint_("cite").out, re.MULTILINE) == keys[1:]


def test_cite_says_when_a_method_came_from_outside(forkpoint_: Forkpoint):
    run = write_run(Path("run"), method={"name": "mine.loss:mine", "settings": {}, "intervenes": False})
    told = forkpoint_("cite", str(run))
    assert told.code == 0
    assert "mine.loss:mine is not part of forkpoint" in told.err


def cited(told: object) -> list[str]:
    """BibTeX keys of what was printed, without the two programs'."""
    keys = re.findall(r"^@\w+\{([\w-]+),", getattr(told, "out"), re.MULTILINE)  # noqa: B009
    assert keys[-2:] == ["vonwerra2020trl", "forkpoint"]
    return keys[:-2]


def test_cite_names_both_parts_of_a_composition_by_name_and_by_run(forkpoint_: Forkpoint):
    both = ["wang2025emergent", "cui2025entropy"]
    run = write_run(Path("run"), method={"name": "hicra+kl_cov", "settings": {}, "intervenes": True})
    assert cited(forkpoint_("cite", "hicra+kl_cov")) == cited(forkpoint_("cite", str(run))) == both


def test_cite_of_a_composition_with_a_part_from_outside_names_the_rest(forkpoint_: Forkpoint):
    run = write_run(Path("run"), method={"name": "mine:mine+kl_cov", "settings": {}, "intervenes": True})
    told = forkpoint_("cite", str(run))
    assert cited(told) == ["cui2025entropy"]
    assert told.err == "mine:mine is not part of forkpoint; cite its own source as well\n"


def test_cite_names_the_papers_of_a_methods_controllers(forkpoint_: Forkpoint):
    from forkpoint import papers, signatures

    for name in forkpoint.catalog.names("methods"):
        keys = cited(forkpoint_("cite", name))
        for controller in signatures.declared("methods", name).uses.get("controllers", ()):
            for source in signatures.declared("controllers", controller).sources:
                assert papers.get(source).key in keys


def test_cite_of_a_run_that_was_only_watched_goes_by_the_trainers_loss(forkpoint_: Forkpoint):
    for loss, keys in (("dapo", ["yu2025dapo"]), ("grpo", ["shao2024deepseekmath"]), ("bnpo", [])):
        method = {"name": "trl", "settings": {"loss_type": loss}, "intervenes": False}
        told = forkpoint_("cite", str(write_run(Path(loss), method=method)))
        assert (cited(told), told.err) == (keys, "")


def test_cite_of_nothing_known_is_one_line(forkpoint_: Forkpoint):
    told = forkpoint_("cite", "hicra+kl_vov")
    assert told.code == 2 and told.error.startswith("hicra+kl_vov: neither a run folder nor a method")
