"""Two set-points against one number: its runs, the pairing at equal mean entropy, and the page."""

import json

import pytest
from made_rows import START, made_row

from forkpoint.methods import build
from forkpoint.recipes.demo import DEMO
from forkpoint.studies import fork_thermostat as study
from forkpoint.studies._pieces import row_of
from forkpoint.studies._thermostat_page import _curve, compared, held, levels, write_page

TINY = DEMO.model_copy(
    update={"steps": 6, "eval_every": 3, "eval_problems": 8, "save_every": 6, "prompts_per_step": 2, "max_tokens": 24}
)


def test_the_set_points_are_the_method_s_targets():
    for choice, points in study.CHOICES.items():
        config = study.held_piece(choice, 0).config
        made = build(config.method, **config.settings).settings
        assert (made["target_fork"], made["target_execution"]) == points
        assert config.steps >= 300


def test_the_one_number_run_follows_the_mean_that_the_held_run_kept():
    row = made_row(study.held_piece("alive", 3).config, correct=[1] * 8, entropy=(0.24, 0.2))
    piece = study.mean_piece("alive", 3, row)
    assert piece.config.settings["end"] == pytest.approx(0.2) and piece.config.seed == 3
    build(piece.config.method, **piece.config.settings)


def arms(fork_at_end, effect=0, seeds=5):
    found = {"held-alive": {}, "mean-alive": {}, "plain": {}}
    for seed in range(seeds):
        piece = study.held_piece("alive", seed)
        base = [1 + (seed + i) % 4 for i in range(40)]
        kept = {"entropy": (0.24, 0.2), "fork": (0.75, fork_at_end)}
        found["held-alive"][seed] = made_row(piece.config, correct=[right + effect for right in base], **kept)
        found["mean-alive"][seed] = made_row(piece.config, correct=base, entropy=(0.24, 0.2))
        found["plain"][seed] = made_row(piece.config, correct=base)
    return found


@pytest.mark.parametrize(("factor", "runs"), [(1.0, "5 of 5"), (1.09, "5 of 5"), (0.89, "0 of 5")])
def test_a_set_point_is_held_within_ten_percent(factor, runs):
    target = study.CHOICES["alive"].fork
    line = next(row for row in held(arms(factor * target), study.CHOICES).splitlines() if "alive, fork" in row)
    assert runs in line and "+0.50" in line


@pytest.mark.parametrize(("effect", "clear"), [(2, "alive, accuracy; alive, pass@8."), (0, "none.")])
def test_where_is_claimed_to_be_worth_more_only_if_it_is(effect, clear):
    found = arms(0.7, effect)
    assert f"excludes zero: {clear}" in compared(found, study.CHOICES)


def test_a_page_tells_what_is_not_done(tmp_path):
    text = write_page(tmp_path / "t.md", {}, START, study.CHOICES).read_text()
    assert "Runs done: none" in text and "No run that holds" in text and "No pair of runs" in text
    assert levels({}).count("\n") == 1


def test_figures_show_every_stretch_of_training_and_the_set_points(tmp_path):
    steps = [1.0] * 10 + [0.5] * 10 + [None] * 5 + [0.25] * 5
    assert _curve({0: {"by_step": {"key": steps}}}, "key") == [(5.5, 1.0), (15.5, 0.5), (25.5, 0.25)]
    write_page(tmp_path / "t.md", arms(0.7), START, study.CHOICES)
    drawn = (tmp_path / "t-fork.svg").read_text()
    assert "set-point alive" in drawn and "set-point reverse" not in drawn


@pytest.mark.slow
def test_the_whole_study_in_six_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "CHOICES", {"alive": study.CHOICES["alive"]})
    asked = {"base": TINY, "samples": 8}
    failed = study.fork_thermostat(1, rows=tmp_path / "rows", out=tmp_path / "runs", **asked)
    assert failed == []
    found = study.collected(tmp_path / "rows", most=1, **asked)
    assert sorted(found) == ["held-alive", "mean-alive", "plain"]
    row = found["held-alive"][0]
    mean = json.loads((tmp_path / "rows/mean-alive-0.json").read_text())
    assert mean["config"]["settings"]["end"] == pytest.approx(study.last_third(row, "entropy/full"), abs=1e-4)
    # the control is at work: a tilt was recorded and is not its default
    assert row["train"]["control/tilt_fork"][-1] != 0
    assert row_of(study.plain_piece(0, **asked), tmp_path / "rows") is not None
