"""The comparison of decoders over policies: its rows, going on, and a page that says no more than they show."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from forkpoint import catalog
from forkpoint.recipes.tiny_policy import Recipe, demonstration
from forkpoint.studies import _inference_policies as policies
from forkpoint.studies import inference as study
from forkpoint.studies._inference_page import estimate, write_page

NAMES = ("greedy", "soft_thinking", "parallel_vote", "cold_stop=soft_thinking")
SMALL = study.Scale(problems=4, budgets=(40, 80), lengths=(8, 16), methods=NAMES)


@pytest.fixture(autouse=True)
def taught_in_seconds(monkeypatch):
    """Policies that know next to nothing, and trainings of two steps."""
    quick = {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "steps": 20, "batch": 8, "tasks": (policies.TASK,)}
    quick["task_shares"] = (1.0,)
    taught = {"start": Recipe(**quick), "direct": Recipe(**quick, thinks=False)}
    monkeypatch.setattr(policies, "TAUGHT", taught)
    short = {"steps": 2, "eval_every": 2, "save_every": 2, "eval_problems": 4, "prompts_per_step": 2, "max_tokens": 16}
    monkeypatch.setattr(policies, "RUN", policies.RUN.model_copy(update=short))


def test_every_decoder_of_the_folder_is_compared():
    parts = {part.partition("=")[2] or part for name in study.METHODS for part in name.split("+")}
    assert parts == set(catalog.names("decoders")) - {"budget_forcing"}, "budget_forcing has a table of its own"


@pytest.mark.parametrize("key", study.SETTINGS)
def test_every_setting_is_one(key):
    assert study.applies(key, study.METHODS)


def test_a_row_is_made_once_and_says_what_the_comparison_found(tmp_path):
    args = {"only": "start", "seeds": 1, "rows": tmp_path / "rows", "out": tmp_path / "runs", "scale": SMALL}
    assert study.inference(**args) == []
    before = (tmp_path / "rows/start-0.json").read_bytes()
    row = json.loads(before)
    calibrated = {"calibrated_stop", "calibrated_stop_votes"}
    assert set(row["decoders"]) >= {"greedy", "cold_stop"} and set(row["decoders"]) - calibrated <= {
        *NAMES,
        "cold_stop",
    }
    assert row["settings"]["cold_stop"]["patience"] == 4 and row["settings"]["soft_thinking"]["patience"] == 256
    assert set(row["forced"]) == {"8", "16"}
    cell = row["decoders"]["parallel_vote"]["80"]
    assert len(cell["right"]) == 4 and set(cell["right"]) <= set("01-") and 6 < cell["tokens"] <= 80
    assert study.inference(**args) == [] and (tmp_path / "rows/start-0.json").read_bytes() == before
    (tmp_path / "rows/start-0.json").write_text(json.dumps(row | {"weights": "other", "cpu_s": 0.0}))
    assert study.inference(**args) == [], "a row of other weights is made again"
    assert (tmp_path / "rows/start-0.json").read_bytes() == before
    assert study._same(row, SMALL) and not study._same(row, SMALL._replace(problems=5))
    changed = row | {"settings": row["settings"] | {"greedy": {"entropy": "other"}}}
    assert not study._same(changed, SMALL)
    text = write_page(tmp_path / "page.md", study.collected(tmp_path / "rows")).read_text()
    assert "Is soft thinking more than greedy, before RL?" in text and "catch up" not in text


def test_policies_are_made_once_and_only_those_that_are_asked_for(tmp_path):
    policies.make(["direct"], 1, inf, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["direct"]
    before = (tmp_path / "direct/model.safetensors").stat().st_mtime_ns
    policies.make(["direct"], 1, inf, tmp_path)
    assert (tmp_path / "direct/model.safetensors").stat().st_mtime_ns == before
    policies.make(["direct", "kept"], 1, -inf, tmp_path)
    with pytest.raises(ValueError, match="start: not made yet"):
        policies.policy_of("start", 0, tmp_path)
    with pytest.raises(ValueError, match="kept-0: not trained yet"):
        policies.policy_of("kept", 0, tmp_path)
    with pytest.raises(ValueError, match="no arm 'x'; there is start, grpo"):
        policies.policy_of("x", 0, tmp_path)


def test_a_policy_of_another_recipe_is_not_taken(tmp_path, monkeypatch):
    policies.make(["direct"], 1, inf, tmp_path)
    other = replace(policies.TAUGHT["direct"], steps=21)
    monkeypatch.setattr(policies, "TAUGHT", policies.TAUGHT | {"direct": other})
    with pytest.raises(ValueError, match="direct: not made yet"):
        policies.policy_of("direct", 0, tmp_path)


@pytest.mark.slow
def test_trained_policies_start_from_the_one_that_was_taught(tmp_path):
    missing = study.inference("kept", 1, 0.0, tmp_path / "rows", tmp_path, scale=SMALL)
    assert len(missing) == 0, "none is begun after the time, and a second call goes on"
    assert study.inference("kept", 1, rows=tmp_path / "rows", out=tmp_path, scale=SMALL) == []
    config = policies.run_of("kept", 0, tmp_path / "policies")
    assert config.model == str(tmp_path / "policies/start") and config.method == "fork_thermostat"
    assert policies.policy_of("kept", 0, tmp_path / "policies").endswith("checkpoint-2")
    assert json.loads((tmp_path / "rows/kept-0.json").read_text())["arm"] == "kept"


SHOWN = tuple(name.partition("=")[0] for name in study.METHODS)


def made(arm, seed, right, methods=SHOWN, forced=("1100", "1000")):
    cells = {
        name: {b: {"right": right.get((name, b), "1100"), "tokens": 50.0, "discarded": 0.0} for b in ("64", "512")}
        for name in methods
    }
    lengths = {length: {"right": letters} for length, letters in zip(("8", "96"), forced, strict=True)}
    about = {"arm": arm, "seed": seed, "commit": "abc", "problems": 4}
    return about | {"decoders": cells, "forced": lengths}


def test_what_the_rows_do_not_tell_is_left_open(tmp_path):
    rows = {arm: {seed: made(arm, seed, {}) for seed in range(3)} for arm in study.ARMS}
    text = write_page(tmp_path / "page.md", rows).read_text()
    assert "Is soft thinking more than greedy, after GRPO? not to be told: +0.000" in text
    assert "entropy kept in training gain more from budget?" in text and "the difference is +0.000" in text
    assert (
        "Accuracy is highest at 8 tokens (0.500; unforced" in text and "; from there to 96 it changes by -0.250" in text
    )
    assert (tmp_path / "page-forced.svg").exists()


def test_a_stop_by_confidence_is_held_against_votes_that_spend_more(tmp_path):
    row = made("start", 0, {("deep_confidence", "512"): "1111", ("parallel_vote", "64"): "0000"})
    text = write_page(tmp_path / "page.md", {"start": {0: row}}).read_text()
    assert "Of 512 tokens deep_confidence spends 50; against votes for 64: yes, +1.000 [" in text
    row["decoders"]["deep_confidence"]["512"]["tokens"] = 65.0
    text = write_page(tmp_path / "page.md", {"start": {0: row}}).read_text()
    assert "spends 65, more than the votes for 64 that it could be held against." in text


def test_a_cell_is_of_its_decoder_and_budget(tmp_path):
    row = made("start", 0, {("greedy", "512"): "0001"})
    text = write_page(tmp_path / "page.md", {"start": {0: row}}).read_text()
    (greedy,) = [line for line in text.splitlines() if line.startswith("| greedy |")]
    assert "| 0.500 [" in greedy and "| 0.250 [" in greedy and "4 held-out problems" in text


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


def test_the_problems_are_all_kept_from_training():
    asked = study.first_problems(study.wider(), study.PROBLEMS)
    trained = {problem.id for problem in study.first_problems(study.wider(), 2705, "train")}
    assert len(trained) == 2705 and not trained & {problem.id for problem in asked}
    assert study.TASK == "forkpoint.studies.inference:wider" and catalog.get("tasks", study.TASK) is study.wider
    with pytest.raises(ValueError, match="has 353; ask for no more"):
        study.first_problems(study.wider(), study.PROBLEMS + 1)
