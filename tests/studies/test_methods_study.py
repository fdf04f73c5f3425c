"""The comparison of methods: its runs and rows, and a page that claims no more than they show."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_rows import START, made_row

from forkpoint import catalog
from forkpoint.methods import build
from forkpoint.recipes.demo import DEMO
from forkpoint.studies import methods as study
from forkpoint.studies._methods_page import area, compared, write_page
from forkpoint.studies._pieces import Piece, commit, row_of, run_pieces
from forkpoint.studies._svg import Interval, intervals, lines, nice, points

TINY = DEMO.model_copy(
    update={"steps": 4, "eval_every": 2, "eval_problems": 8, "save_every": 4, "prompts_per_step": 2, "max_tokens": 24}
)


def test_core_methods_run_with_every_seed_and_the_others_with_two():
    names = [piece.config.method for piece in study.pieces()]
    for name in catalog.names("methods"):
        assert names.count(name) == (study.SEEDS if name in study.CORE else study.EXPLORED), name


def test_the_first_seed_of_all_core_methods_comes_first():
    first = study.pieces()[: len(study.CORE)]
    assert {piece.config.method for piece in first} == set(study.CORE)
    assert {piece.config.seed for piece in first} == {0}


def test_only_the_method_its_settings_and_when_it_is_evaluated_differ_from_the_demo():
    own = {"method", "settings", "name", "seed", "out", "keep_checkpoints", "eval_every"}
    for piece in study.pieces():
        assert piece.config.model_dump(exclude=own) == DEMO.model_dump(exclude=own)


@pytest.mark.parametrize("name", study.SCALED)
def test_every_stated_setting_is_one_and_has_its_reason(name):
    settings, why = study.SCALED[name]
    made = build(name, **settings).settings
    assert all(made[setting] == value for setting, value in settings.items())
    assert len(why) > 20 and settings != {setting: build(name).settings[setting] for setting in settings}


def test_a_wrong_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="kl_cov"):
        study.pieces(["kl_covv"])


@pytest.fixture
def piece(tmp_path):
    config = TINY.model_copy(update={"method": "kl_cov", "settings": {"share": 0.02}, "out": str(tmp_path / "run")})
    return Piece("kl_cov-0", config, samples=8)


def store(piece, rows: Path, **changes):
    rows.mkdir(exist_ok=True)
    method = {"name": "kl_cov", "settings": dict(build("kl_cov", share=0.02).settings), "intervenes": True}
    row = made_row(piece.config, correct=[1] * 8, samples=8, method=method) | changes
    (rows / f"{piece.name}.json").write_text(json.dumps(row))


def test_a_row_stands_for_its_piece_wherever_the_run_lay(piece, tmp_path):
    store(piece, tmp_path / "rows")
    moved = replace(piece, config=piece.config.model_copy(update={"out": "elsewhere", "save_every": 2}))
    assert row_of(moved, tmp_path / "rows") is not None


@pytest.mark.parametrize("change", [{"steps": 5}, {"settings": {"share": 0.03}}, {"seed": 1}, {"learning_rate": 1e-3}])
def test_a_row_of_other_settings_does_not_count(piece, tmp_path, change):
    store(piece, tmp_path / "rows")
    other = replace(piece, config=piece.config.model_copy(update=change))
    assert row_of(other, tmp_path / "rows") is None


def test_a_row_made_under_another_default_or_with_fewer_samples_does_not_count(piece, tmp_path):
    store(piece, tmp_path / "rows", method={"settings": {"share": 0.02, "coef": 9.0, "at": "update"}})
    assert row_of(piece, tmp_path / "rows") is None
    store(piece, tmp_path / "rows")
    assert row_of(replace(piece, samples=16), tmp_path / "rows") is None


def test_what_has_a_row_is_not_run_again_and_no_run_begins_after_the_time(piece, tmp_path):
    store(piece, tmp_path / "rows")
    other = replace(piece, name="kl_cov-1", config=piece.config.model_copy(update={"seed": 1}))
    assert run_pieces([piece, other], tmp_path / "rows", minutes=0.0) == []
    assert not (tmp_path / "rows/kl_cov-1.json").exists() and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_that_fails_is_told_and_the_other_leaves_its_row(piece, tmp_path):
    other = {"model": str(tmp_path / "none"), "out": str(tmp_path / "broken")}
    broken = replace(piece, name="broken", config=piece.config.model_copy(update=other))
    said: list[str] = []
    failed = run_pieces([broken, piece], tmp_path / "rows", tell=said.append)
    assert len(failed) == 1 and failed[0].startswith("broken: ") and "no such folder" in failed[0]
    row = row_of(piece, tmp_path / "rows")
    assert row is not None and len(said) == 2
    assert row["eval_steps"] == [0, 2, 4] and row["steps"] == 4 and len(row["final"]["correct"]) == 8
    assert len(row["eval"]["entropy/full/fork"]) == 3 and len(row["train"]["entropy/full"]) == 2
    assert len(row["by_step"]["entropy/full"]) == 4 and len(row["tokens"]) == 2
    # prompt and answer of 2 x 8 rows in each of two rollouts, at most
    assert 0 < row["tokens"][0] < row["tokens"][1] <= 2 * 16 * (6 + 24)
    assert (tmp_path / "rows/kl_cov-0.json").stat().st_size < 20_000


def rows_of(effects, seeds=5, problems=40):
    """Method -> seed -> row; ``effects`` are right answers of eight, over GRPO's, which differ by seed."""
    found = {}
    for name, effect in {"grpo": 0, **effects}.items():
        for seed in range(seeds):
            config = DEMO.model_copy(update={"method": name, "seed": seed})
            correct = [4 * (1 + seed % 3 + i % 3 + effect) for i in range(problems)]
            found.setdefault(name, {})[seed] = made_row(config, correct=correct)
    return found


def test_only_a_difference_that_every_test_bears_out_is_claimed(tmp_path):
    found = rows_of({"kl_cov": 2, "dapo": 0})
    core = ("grpo", "dapo", "kl_cov")
    text = write_page(tmp_path / "methods.md", found, START, core=core, scaled={}, asked=99).read_text()
    assert "15 of 99 runs done" in text
    assert "* accuracy: above GRPO kl_cov; below GRPO none." in text
    assert "| kl_cov | 5 | **+0.250" in text
    assert "| dapo | 5 | +0.000" in text
    assert "8 comparisons are made in all" in text


def test_noise_is_not_claimed(tmp_path):
    found = rows_of({"kl_cov": 0})
    for seed, row in found["kl_cov"].items():
        row["final"]["correct"] = [
            max(0, right + (1 if (i + seed) % 2 else -1)) for i, right in enumerate(row["final"]["correct"])
        ]
    text = write_page(tmp_path / "methods.md", found, START, core=("grpo", "kl_cov"), scaled={}, asked=99).read_text()
    assert "* accuracy: above GRPO none; below GRPO none." in text


def test_methods_outside_the_core_are_exploratory_and_never_compared(tmp_path):
    found = rows_of({"gspo": 3}, seeds=2)
    text = write_page(tmp_path / "methods.md", found, START, core=("grpo",), scaled={}, asked=9).read_text()
    assert "Exploratory: one or two seeds, no claim" in text and text.count("| gspo |") == 1


def test_a_page_without_rows_says_so(tmp_path):
    text = write_page(tmp_path / "methods.md", {}, START, core=("grpo",), scaled={}, asked=9).read_text()
    assert "0 of 9 runs done" in text and "No run is done." in text


def test_a_comparison_takes_the_seeds_that_both_have():
    found = rows_of({"kl_cov": 1})
    del found["grpo"][0], found["kl_cov"][4]
    assert compared(found, START, ["kl_cov"], "accuracy")["kl_cov"].seeds == 3


def test_area_is_one_where_nothing_is_spent():
    assert area({"eval_steps": [0, 5, 20], "eval": {"entropy/full": [0.3, 0.3, 0.3]}}, {}) == pytest.approx(1.0)


def test_figures_are_xml_whatever_a_name_holds_and_the_same_each_time():
    name = '<b>&"x"'
    made = [
        lines("t", {name: [(0, 1.0), (1, float("nan")), (2, 3.0)], "other": [(0, 0.0)]}, "x", "y"),
        points("t", {str(i): [(i, i)] for i in range(9)}, "x", "y"),
        intervals("t", [Interval(name, 0.1, -0.2, 0.3), Interval("one", 0.2, float("nan"), float("nan"))], "x"),
        intervals("t", [], "x"),
    ]
    for drawn in made:
        ElementTree.fromstring(drawn)
        assert "nan" not in drawn.replace("<title>", "")
    assert made[0] == lines("t", {name: [(0, 1.0), (1, float("nan")), (2, 3.0)], "other": [(0, 0.0)]}, "x", "y")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.031, 0.2), (5, 5), (0, 0), (-3e-5, 1e-5), (0, 160)])
def test_ticks_reach_over_the_data(low, high):
    ticks = nice(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 9 and ticks == sorted(set(ticks))


def test_a_commit_is_marked_where_the_source_differs_and_not_where_rows_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commit() == "", "no checkout"
    (tmp_path / "src").mkdir()
    source, row = tmp_path / "src/a.py", tmp_path / "row.json"
    for path in (source, row):
        path.write_text("1")
    who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *who, *words], check=True)
    clean = commit()
    row.write_text("2")
    assert commit() == clean and clean.isalnum()
    source.write_text("2")
    assert commit() == f"{clean}+"
