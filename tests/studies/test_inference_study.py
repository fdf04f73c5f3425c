"""The comparison of decoders over policies: its rows, going on, and a page that says no more than they show."""

import json

import numpy as np
import pytest

from forkpoint import catalog
from forkpoint.policies import TINY
from forkpoint.recipes.tiny_policy import demonstration
from forkpoint.studies import inference as study
from forkpoint.studies._inference_page import estimate, write_page
from forkpoint.tasks.countdown import countdown

SMALL = study.Scale(problems=4, budgets=(40, 80), lengths=(8, 16), methods=("greedy", "soft_thinking", "parallel_vote"))


def test_every_decoder_of_the_folder_is_compared():
    assert {part for name in study.METHODS for part in name.split("+")} == set(catalog.names("decoders")) - {
        "budget_forcing"
    }, "budget_forcing has a table of its own"


@pytest.mark.parametrize("key", study.SETTINGS)
def test_every_setting_is_one(key):
    assert study.applies(key, study.METHODS)


def test_a_row_is_made_once_and_says_what_the_comparison_found(tmp_path):
    args = {"only": "start", "seeds": 1, "rows": tmp_path / "rows", "out": tmp_path / "runs", "scale": SMALL}
    assert study.inference(**args) == []
    before = (tmp_path / "rows/start-0.json").read_bytes()
    row = json.loads(before)
    calibrated = {"calibrated_stop", "calibrated_stop_votes"}
    assert set(row["decoders"]) == set(SMALL.methods) | calibrated and set(row["forced"]) == {"8", "16"}
    cell = row["decoders"]["parallel_vote"]["80"]
    assert len(cell["right"]) == 4 and set(cell["right"]) <= set("01-") and 6 < cell["tokens"] <= 80
    assert study.inference(**args) == [] and (tmp_path / "rows/start-0.json").read_bytes() == before
    assert study._same(row, SMALL) and not study._same(row, SMALL._replace(problems=5))
    changed = row | {"settings": row["settings"] | {"greedy": {"entropy": "other"}}}
    assert not study._same(changed, SMALL)
    text = write_page(tmp_path / "page.md", study.collected(tmp_path / "rows")).read_text()
    assert "Is soft thinking more than greedy, before RL?" in text and "catch up" not in text


def test_a_policy_that_is_not_there_is_told_with_what_makes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "TRAINED_RUNS", tmp_path)
    missing = study.inference("grpo,direct", 1, rows=tmp_path, out=tmp_path, scale=SMALL)
    assert len(missing) == 2 and "studies.methods --only grpo makes it" in missing[0]
    assert "tiny_policy --out" in missing[1] and study.policy_of("start", 0) == TINY
    with pytest.raises(ValueError, match="no arm 'x'; there is start, grpo"):
        study.policy_of("x", 0)


def made(arm, seed, right, methods=study.METHODS, forced=("1100", "1000")):
    cells = {
        name: {b: {"right": right.get((name, b), "1100"), "tokens": 50.0, "discarded": 0.0} for b in ("64", "512")}
        for name in methods
    }
    lengths = {length: {"right": letters} for length, letters in zip(("8", "96"), forced, strict=True)}
    about = {"arm": arm, "seed": seed, "commit": "abc", "problems": 4, "familiar": "1110"}
    return about | {"decoders": cells, "forced": lengths}


def test_what_the_rows_do_not_tell_is_left_open(tmp_path):
    rows = {arm: {seed: made(arm, seed, {}) for seed in range(3)} for arm in study.ARMS}
    text = write_page(tmp_path / "page.md", rows).read_text()
    assert "Is soft thinking more than greedy, after GRPO? not to be told: +0.000" in text
    assert "entropy kept in training gain more from budget?" in text and "the difference is +0.000" in text
    assert (
        "Accuracy is highest at 8 tokens (0.667; unforced" in text and "; from there to 96 it changes by -0.333" in text
    )
    assert (tmp_path / "page-forced.svg").exists()


def test_problems_unlike_those_of_training_are_counted_and_left_out(tmp_path):
    row = made("start", 0, {("greedy", "512"): "0001"})
    text = write_page(tmp_path / "page.md", {"start": {0: row}}).read_text()
    assert "Of 1 more problems" in text and "1 answers were right over all" in text
    (greedy,) = [line for line in text.splitlines() if line.startswith("| greedy |")]
    assert "| 0.667 [" in greedy and "| 0.000 [" in greedy, "at 64 tokens two of three, at 512 none of the three"


def test_what_every_problem_and_seed_shows_is_told(tmp_path):
    better = {("abstractions", "512"): "1111", ("soft_thinking", "512"): "0000"}
    rows = {"start": {seed: made("start", seed, better) for seed in range(3)}}
    rows["start"] = {
        seed: row | {"decoders": row["decoders"] | {"greedy": dict.fromkeys(("64", "512"), cell("1111"))}}
        for seed, row in rows["start"].items()
    }
    text = write_page(tmp_path / "page.md", rows).read_text()
    assert "Is soft thinking more than greedy, before RL? no, it is worse: -1.000 [-1.000, -1.000]" in text


def cell(letters):
    return {"right": letters, "tokens": 50.0, "discarded": 0.0}


def test_a_problem_without_a_verdict_is_left_out():
    found = estimate(np.array([[1.0, np.nan, 0.0], [1.0, 1.0, 0.0]]))
    assert found.mean == 0.5 and not found.excludes_zero


def test_without_rows_the_page_says_how_to_make_them(tmp_path):
    assert "python -m forkpoint.studies.inference" in write_page(tmp_path / "page.md", {}).read_text()


def test_a_policy_without_thinking_is_taught_answers_alone():
    from itertools import islice
    from random import Random

    task = catalog.get("tasks", "countdown")()
    rng = Random(0)
    for problem in islice(task.problems("train"), 50):
        text = demonstration(task, problem, rng, thinks=False)
        assert text.startswith("yes answer ") and task.score(problem, text).correct


def test_the_problems_are_all_kept_from_training_and_told_apart():
    asked = study.first_problems(study.wider(), study.PROBLEMS)
    trained = {problem.id for problem in study.first_problems(countdown(), 1612, "train")}
    assert not trained & {problem.id for problem in asked}
    known = [problem for problem in asked if study.familiar(problem)]
    assert {problem.id for problem in known} == {problem.id for problem in study.first_problems(countdown(), 212)}
    with pytest.raises(ValueError, match="has 353; ask for no more"):
        study.first_problems(study.wider(), study.PROBLEMS + 1)
