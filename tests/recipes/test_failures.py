"""The two failures: what is drawn, that it goes on where it stopped, and that each number is of what it says."""

import json
import math
import re
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from tests.laws.small_models import small_model, small_tokenizer
from tests.report.test_page import HOSTILE, Document

from forkpoint import catalog, cli, exits
from forkpoint.policies import TINY
from forkpoint.probes import Drawn, Samples
from forkpoint.probes._samples import read
from forkpoint.recipes._failures_cells import tables, verdict, warning
from forkpoint.recipes._failures_page import LEVERS, failures_page
from forkpoint.recipes._failures_summary import (
    Rights,
    changed_share,
    cut_share,
    one_model,
    questions,
    summary,
    unjudged,
)
from forkpoint.recipes.failures import DOCUMENT, Arm, Failures, failures
from forkpoint.record.documents import read_document, write_document
from forkpoint.tasks import Problem, Thinking
from forkpoint.tasks.countdown import Countdown, countdown
from forkpoint.verify import Verdict

SETTINGS = {"window": 8.0, "stop.threshold": 0.1}
SMALL = Failures((TINY, TINY), waits=(1, 2), lengths=(12,), problems=6, k=4, paths=3, settings=SETTINGS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("failures")
    return failures(SMALL, out), out


# ---- what is drawn


def test_thinking_goes_on_as_often_as_asked(made):
    (before, _), _ = made
    again = countdown().thinking.again
    for number in (1, 2):
        assert all(
            text.count(again) >= number for one in before.forced[f"wait-{number}"].problems for text in one.texts
        )
    assert before.long is before.forced["wait-2"], "the last, where none is named"
    exact = [trait["thinking"] for one in before.forced["think-12"].problems for trait in one.traits]
    assert set(exact) == {14.0}, "twelve tokens, and the end that was put, which is two"


def test_votes_spend_no_more_than_the_long_thought(made):
    (before, _), _ = made
    spent = np.mean([length for one in before.long.problems for length in one.lengths])
    assert all(length <= spent for one in before.votes.problems for length in one.lengths)
    assert all(len(one.texts) == 1 for one in before.votes.problems)


def test_what_differs_from_free_thinking_is_counted(made):
    (before, _), _ = made
    assert changed_share(before.free, before.free) == 0.0 and changed_share(before.long, before.free) == 1.0
    (first, *others) = before.free.problems
    altered = replace(first, texts=("other", *first.texts[1:]))
    share = changed_share(Samples((altered, *others)), before.free)
    assert share == pytest.approx(1 / (SMALL.problems * SMALL.paths))


def test_the_same_model_twice_is_the_same_and_nothing_crosses_over(made):
    arms, _ = made
    assert arms[0].samples == arms[1].samples and arms[0].roles == arms[1].roles
    found = summary([*arms, arms[1].__class__(**(vars(arms[1]) | {"name": "kept"}))])
    crossed = [one for one in found.crossings if " against " not in one.asked]
    assert len(crossed) == 5 and all(one.change.value == 0 and not one.sure for one in crossed)


def test_the_files_say_what_was_asked_of_which_weights(made):
    _, out = made
    stored = read_document(out / DOCUMENT)
    assert stored["state"] == "done" and stored["weights"]["before"] == stored["weights"]["after"]
    assert stored["asked"]["waits"] == [1, 2] and stored["decoders"]["wait-2"]["waits"] == 2
    names = {"samples", "free", "stop", "votes", "wait-1", "wait-2", "think-12"}
    assert {path.stem for path in (out / "before").glob("*.jsonl")} == names
    assert set(read_document(out / "before/roles.json")) >= {"entropy/full", "entropy/full/fork"}


def test_what_was_cut_off_goes_on_to_the_same_bytes(made, tmp_path):
    _, whole = made
    failures(SMALL, tmp_path)
    kept = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    assert kept == {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*.jsonl")}
    (tmp_path / "after/votes.jsonl").unlink()
    free = tmp_path / "after/free.jsonl"
    free.write_bytes(free.read_bytes()[:-40])
    failures(SMALL, tmp_path)
    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.jsonl")} == kept


def test_the_early_stop_is_calibrated_on_training_where_no_threshold_is_given(tmp_path):
    asked = Failures((TINY, TINY), waits=(1,), problems=24, k=2, paths=4, settings={"window": 8.0})
    before, after = failures(asked, tmp_path)
    assert 0 < before.threshold < 1 and before.threshold == after.threshold
    stored = read_document(tmp_path / DOCUMENT)
    assert stored["thresholds"] == {"before": before.threshold, "after": before.threshold}
    over_all = Failures(**(vars(asked) | {"settings": {"threshold": 0.7, "window": 8.0}, "problems": 4}))
    assert failures(over_all, tmp_path / "given")[0].threshold == 0.7, "given for every decoder that has it"
    assert read(tmp_path / "before/stop.jsonl") == before.stop


def test_what_the_early_stop_used_is_what_the_document_has(made):
    (before, after), out = made
    assert read_document(out / DOCUMENT)["decoders"]["stop"]["threshold"] == {"before": 0.1, "after": 0.1}
    assert {before.threshold, after.threshold} == {0.1}


def test_only_what_its_limit_ended_is_cut_off(made):
    """Lines without a finish, as they were written before, go by their lengths."""
    (before, _), _ = made
    finish = {each for one in before.forced["wait-2"].problems for each in one.finish}
    assert finish <= {"end", "limit"} and read(made[1] / "before/free.jsonl") == before.free
    (one,) = drawn("1100", ("7", "7", None, None), 5.0).problems[:1]
    assert cut_share(Samples((one,)), 10) == 1.0 and cut_share(Samples((one,)), 11) == 0.0
    told = replace(one, finish=("end", "end", "end", "limit"))
    assert cut_share(Samples((told,)), 10) == 0.25, "three of those that took all their tokens ended with the last"


def test_any_model_with_markers_of_one_s_own(tmp_path):
    """A model that knows nothing of the task: no right answer, no token of a role, and no number that is not one."""
    small_model("qwen3").save_pretrained(tmp_path / "model")
    small_tokenizer().save_pretrained(tmp_path / "model")
    thinking, about = (
        Thinking(end="done now", again="wait more"),
        vars(SMALL) | {"models": (str(tmp_path / "model"),) * 3},
    )
    arms = failures(Failures(**(about | {"thinking": thinking})), tmp_path / "out")
    found = summary(arms)
    assert {one.passes.value for one in found.reach} == {0.0} and set(arms[0].roles) == {"all"}
    assert "cut off" in failures_page(SMALL, arms, found)


# ---- what is said of it


def drawn(verdicts, answers, thinking):
    size = len(verdicts)
    outcome = tuple({"1": "correct", "0": "wrong", "-": "none"}[letter] for letter in verdicts)
    about = {"logp": (0.0,) * size, "lengths": (10,) * size, "traits": ({"thinking": thinking},) * size}
    return Samples(tuple(Drawn(f"p{i}", "p", ("",) * size, answers, outcome, **about) for i in range(4)))


def arm(name, long="0000", free="1100", kept="1111"):
    return Arm(
        name=name,
        model="runs/a/checkpoint-1",
        samples=drawn(kept, ("7",) * 4, 5.0),
        roles={"all": 0.2, "fork": 0.5},
        free=drawn(free, ("7", "7", "8", "9"), 5.0),
        forced={
            "wait-1": drawn("1000", ("7", "8", "9", None), 9.0),
            "wait-2": drawn(long, ("7", None, None, None), 20.0),
        },
        long=drawn(long, ("7", None, None, None), 20.0),
        stop=drawn("1110", ("7",) * 4, 4.0),
        threshold=0.1,
        most={"free": 10, "wait-1": 11, "wait-2": 11},
        votes=Samples(tuple(drawn("1", ("7",), 5.0).problems)),
    )


def test_numbers_that_can_be_checked_by_hand():
    found = summary([arm("before", kept="1000"), arm("after"), arm("kept", long="1100", kept="1110")])
    passes = {(one.arm, one.k): (one.passes.value, one.change and one.change.value) for one in found.reach}
    assert passes["before", 1] == (0.25, None) and passes["after", 1] == (1.0, 0.75)
    assert passes["kept", 1] == (0.75, 0.5) and passes["kept", 4] == (1.0, 0.0)
    spread = {(one.arm, one.way): one for one in found.spread}
    assert [one.way for one in found.spread[:3]] == ["free", "wait-1", "wait-2"], "by the tokens of thinking"
    free, last = spread["after", "free"], spread["after", "wait-2"]
    assert free.accuracy.value == 0.5 and free.entropy.value == pytest.approx(1.5 * math.log(2))
    assert last.no_answer.value == 0.75 and last.entropy.value == pytest.approx(0.562335)
    assert (free.cut, last.cut) == (1.0, 0.0), "ten tokens of ten, and of eleven"
    crossed = {one.asked: one.change.value for one in found.crossings}
    # long thinking costs .5 after training and nothing where entropy was kept
    assert crossed["Other side: does entropy kept in training change what long thinking costs?"] == -0.5
    assert crossed["Both: do votes gain more where entropy was kept?"] == -0.5
    assert crossed["Own side: does an early stop change accuracy against long thinking, after training?"] == 0.75
    assert crossed["Own side: does an early stop change accuracy against free thinking, after training?"] == 0.25
    assert {verdict(one) for one in found.crossings} == {"too few problems"}


def test_votes_of_two_models_that_spend_unequally_are_told():
    arms = [arm("before"), arm("after"), arm("kept")]
    assert warning(summary(arms)) == "" and warning(summary(arms[:2])) == ""
    twice = tuple(replace(one, lengths=(20,)) for one in arms[2].votes.problems)
    arms[2] = replace(arms[2], votes=Samples(twice))
    found = summary(arms)
    assert "10 tokens after training and 20 where entropy was kept" in warning(found)
    assert "between models they are not at equal tokens" in failures_page(SMALL, arms, found)


def test_pass_at_k_is_of_one_k_where_verdicts_are_missing():
    found = summary([arm("before"), arm("after", kept="1000"), arm("kept", kept="100-")])
    (reach,) = [one for one in found.crossings if "change pass@3?" in one.asked]
    assert reach.change.value == pytest.approx(1.0 - 0.75), "of three that got a verdict, and of three of four"
    nothing = summary([arm(name, long="----", free="----", kept="----") for name in ("before", "after", "kept")])
    assert all(one.accuracy.problems == 0 for one in nothing.spread if one.way == "free")


def test_missing_verdicts_are_told_on_the_page():
    asked = Failures(("a", "b", "c"), settings=SETTINGS)
    some = [arm("before", kept="1000"), arm("after", kept="1-10"), arm("kept", free="--01")]
    assert unjudged(some) == ["after: 4 in samples without a verdict", "kept: 8 in free without a verdict"]
    assert unjudged(some)[0] in failures_page(asked, some, summary(some))
    none = [arm(name, long="----", free="----", kept="----") for name in ("before", "after", "kept")]
    none = [replace(one, stop=one.long, votes=one.long, forced={"wait-1": one.long}) for one in none]
    page = failures_page(asked, none, summary(none))
    assert "no completion got a verdict" in page and "not finite" not in page
    assert not [cell for rows in tables(summary(none)).values() for row in rows for cell in row if "finite" in cell]


@pytest.mark.parametrize("verb", ["decode", "failures"])
def test_missing_verdicts_are_told_in_the_terminal(verb, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Countdown, "score", lambda *about: Verdict("none", "for a test"))
    few = ["--problems", "2", "--out", str(tmp_path)]
    words = {
        "decode": ["tiny", "--methods", "greedy,sample", "--budget", "50"],
        "failures": ["tiny", "tiny", "--k", "2", "--paths", "2", "--waits", "1", "--settings", "stop.threshold=0.1"],
    }[verb]
    assert cli.main([verb, *words, *few]) == exits.DONE
    told = "".join(capsys.readouterr())
    said = {"decode": "greedy at 50: 2 without a verdict", "failures": "before: 4 in samples, 4 in free, 4 in wait-1"}
    assert said[verb] in told
    for text in (told, re.sub("(?s)<script.*?</script>", "", (tmp_path / f"{verb}.html").read_text())):
        assert not re.search(r"\bnan\b|not finite", text)


def test_votes_hold_their_budget_where_prompts_differ(tmp_path, monkeypatch):
    model, tokenizer = small_model("llama"), small_tokenizer()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    changed = {"models": (str(tmp_path / "model"),) * 2, "thinking": Thinking(end="done now", again="wait more")}
    monkeypatch.setattr("forkpoint.tasks.countdown.Countdown.problem", _longer)
    before, _ = failures(Failures(**(vars(SMALL) | changed)), tmp_path / "out")
    assert len({len(one.prompt.split()) for one in before.free.problems}) > 1
    spent = np.mean([length for one in before.long.problems for length in one.lengths])
    assert all(length <= spent for one in before.votes.problems for length in one.lengths)


def test_a_tokenizer_without_padding_is_measured_too(tmp_path, monkeypatch):
    tokenizer = deepcopy(small_tokenizer())
    tokenizer.pad_token = None
    small_model("llama").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    changed = {"models": (str(tmp_path / "model"),) * 2, "thinking": Thinking(end="done now", again="wait more")}
    monkeypatch.setattr("forkpoint.tasks.countdown.Countdown.problem", _longer)
    small = {"problems": 2, "k": 2, "paths": 2, "waits": (1,), "lengths": (), "max_tokens": 12}
    before, _ = failures(Failures(**(vars(SMALL) | small | changed)), tmp_path / "out")
    assert len(before.samples.problems) == 2 and before.roles["all"] > 0


def _longer(task, numbers, target):
    words = " ".join(map(str, numbers)) + " more" * (target % 5)
    about = {"numbers": tuple(sorted(numbers)), "target": target}
    return Problem(f"{words} {target}", f"{words} target {target} think", about)


def test_overwrite_leaves_the_files_of_others(tmp_path):
    mine = tmp_path / "other" / "rollouts.jsonl"
    mine.parent.mkdir()
    mine.write_text("mine")
    failures(SMALL, tmp_path, overwrite=True)
    old = (tmp_path / "before/free.jsonl").read_bytes()
    with pytest.raises(ValueError, match="no such folder"):
        failures(Failures(**(vars(SMALL) | {"models": ("tiny", "./nowhere")})), tmp_path, overwrite=True)
    assert mine.read_text() == "mine" and (tmp_path / "before/free.jsonl").read_bytes() == old


def test_the_questions_hold_for_tables_of_seeds_too():
    one = Rights(*(np.full((2, 3), value) for value in (0.1, 0.5, 0.6, 0.8, 0.7, 0.9, 1.0)))
    other = one._replace(free_paths=one.free_paths - 0.2)
    found = questions(other, one, one, paths=4, k=8)
    assert all(change.shape == (2, 3) for change in found.values())
    (did,) = [change for question, change in found.items() if "what training did to pass@4" in question]
    # before, stopping gains .4 over free thinking; after, .2
    assert did == pytest.approx(np.full((2, 3), -0.2))


def test_every_lever_that_is_named_is_one():
    named = {word for row in LEVERS for word in re.findall(r"[a-z]+(?:_[a-z]+)+", " ".join(row[2:]))}
    assert named <= {*catalog.names("methods"), *catalog.names("decoders")} and len(named) >= 8


def test_the_page_is_inert_and_says_what_is_missing():
    asked = Failures(("a", "b", "c"), settings=SETTINGS)
    arms = [arm("before"), arm("after"), arm("kept")]
    document = Document(failures_page(asked, arms, summary(arms)))
    ids = [attributes.get("id") for attributes in document.attributes("section")]
    assert ids == ["collapse", "inflation", "levers", "crossed", "tested", "asked"]
    two = failures_page(asked, arms[:2], summary(arms[:2]))
    assert "a third model, trained with its entropy kept, would test it" in two and 'id="tested"' not in two
    assert "Toy model, before: not identified: 3 different variances" in two
    hostile = [Arm(**(vars(one) | {"model": "".join(HOSTILE[:24])})) for one in arms]
    attacked = Document(failures_page(asked, hostile, summary(hostile)))
    assert {tag for tag, _ in attacked.tags} == {tag for tag, _ in document.tags}


def test_two_models_of_the_same_weights_are_told(made):
    arms, _ = made
    (said,) = one_model(arms)
    assert said == "before and after have the same weights: they are one model"
    assert said in failures_page(SMALL, arms, summary(arms))
    assert not one_model([arms[0], replace(arms[1], weights="other")]) and not one_model([arm("before"), arm("after")])


def test_titles_and_what_was_asked_are_for_a_reader(made):
    arms, _ = made
    page = failures_page(SMALL, arms, summary(arms))
    assert "Both levers, crossed" not in page and "What each way to spend tokens gives after training" in page
    assert "tiny, tiny" in page and "window 8, stop.threshold 0.1" in page
    assert not re.search(r"\[&#39;|\['tiny|>None<|>False<|\{&#39;", page)


# ---- the verb, and what it refuses


def test_the_verb_prints_tables_and_the_page(tmp_path, capsys):
    words = ["--problems", "4", "--k", "2", "--paths", "2", "--waits", "1", "--settings", "window=8"]
    words += ["stop.threshold=0.1", "--out", str(tmp_path / "out")]
    assert cli.main(["failures", "tiny", "tiny", *words]) == exits.DONE
    told = capsys.readouterr().out
    assert "one long thought" in told and told.splitlines()[-1] == str(tmp_path / "out/failures.html")
    assert cli.main(["failures", "tiny", "tiny", *words, "--json"]) == exits.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "done" and {one["arm"] for one in found["reach"]} == {"before", "after"}
    assert found["roles"]["before"]["fork"] > found["roles"]["before"]["all"] and found["crossings"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tiny"], "failures: 1 models; name one before and one after training, or three"),
        (["tiny"] * 4, "failures: 4 models"),
        (["tiny", "tiny", "--waits", "2,1"], "--waits 2,1: give counts above 0, the smallest first"),
        (["tiny", "tiny", "--waits", "1,x"], "--waits 1,x: give whole numbers"),
        (["tiny", "tiny", "--waits", "1,2", "--long", "3"], "--waits 1,2 --long 3: give at least one wait"),
        (["tiny", "tiny", "--waits", ""], "give at least one wait"),
        (["tiny", "tiny", "--lengths", "0"], "--lengths 0: give counts above 0"),
        (["tiny", "tiny", "--k", "1"], "--k 1: give 2 or more"),
        (["tiny", "tiny", "--settings", "nothing=1"], "--settings nothing: none of"),
        (["tiny", "tiny", "--settings", "wait-1.waits=5"], "how long thinking is forced to be is said by --waits"),
        (["tiny", "tiny", "--waits", "4"], "a prompt of 6 tokens and 280 more for wait-4 are over its 256 positions"),
        (["tiny", "tiny", "--task", "dyck", "--problems", "2"], "failures ends thinking at a marker"),
        (["tiny", "./nowhere"], "model './nowhere': no such folder"),
        (["tiny", "tiny", "--problems", "4", "--k", "2", "--paths", "2"], "too few to calibrate the early stop"),
        (["tiny", "tiny", "--problems", "9999"], "the test split of countdown has 212"),
    ],
    ids=lambda value: " ".join(value[1:])[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_measured_is_one_line(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["failures", *words]) == exits.USAGE
    told = capsys.readouterr()
    assert says in told.err and told.err.count("\n") == 1 and not told.out


def test_a_folder_of_other_settings_or_weights_is_refused(made):
    _, out = made
    with pytest.raises(ValueError, match=r"holds answers with seed = 0, and seed = 1 is asked for; .*--overwrite"):
        failures(Failures(**(vars(SMALL) | {"seed": 1})), out)
    document = read_document(out / DOCUMENT)
    write_document(out / DOCUMENT, document | {"weights": {"before": "0", "after": "0"}})
    with pytest.raises(ValueError, match="of other weights than the model has now"):
        failures(SMALL, out)
    write_document(out / DOCUMENT, document)
