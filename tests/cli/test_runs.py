"""Verbs that make runs and verbs that read them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from forkpoint import config, doctor, gates, progress
from forkpoint.config import RunConfig
from forkpoint.record import RunWriter, open_run
from tests.cli.conftest import GRPO, KL_COV, SRC, Forkpoint, write_run

# ---- train and demo


def test_flags_stand_over_the_file_and_the_file_over_the_defaults(forkpoint_: Forkpoint):
    Path("run.yaml").write_text("method: kl_cov\nsettings: {share: 2e-2, coef: 0.5}\nsteps: 40\n")
    told = forkpoint_(
        "train", "--config=run.yaml", "--steps", "8", "--settings", "coef=2", "at=rollout", "--print-config"
    )
    resolved = yaml.safe_load(told.out)
    assert told.code == 0
    assert (resolved["method"], resolved["steps"]) == ("kl_cov", 8)
    assert resolved["settings"] == {"share": 0.02, "coef": 2.0, "at": "rollout"}
    assert resolved["learning_rate"] == RunConfig().learning_rate


def test_the_printed_config_is_a_config(forkpoint_: Forkpoint):
    Path("run.yaml").write_text(forkpoint_("train", "--method", "dapo", "--print-config").out)
    assert config.read_config("run.yaml") == RunConfig(method="dapo")


@pytest.mark.parametrize(
    ("share", "told"),
    [("0.2", "100 times the paper; if 0.2 % is meant, write 0.002"), ("1e-5", "so one is taken"), ("0.02", "")],
)
def test_a_share_that_is_likely_a_percentage_is_told_before_the_run(
    share: str, told: str, forkpoint_: Forkpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("forkpoint.recipes.train.train", lambda run, **_: run.folder)
    done = forkpoint_("train", "--method", "kl_cov", "--settings", f"share={share}")
    assert done.code == 0 and told in done.err
    assert done.err.startswith("forkpoint: warning: share=") if told else done.err == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stpes: 3", "run.yaml: no key 'stpes'; did you mean 'steps'?"),
        ("steps: many", "run.yaml: steps = 'many'"),
        ("settings: {share: yes}", "run.yaml: settings.share = True: value error, a setting is a number or a word"),
        ("- 1", "run.yaml: holds list"),
        ("a: [", "run.yaml: not YAML"),
        ("model: !!python/object/apply:os.getcwd []", "run.yaml: not YAML"),
    ],
)
def test_a_wrong_config_file_is_named_by_file_and_key(text: str, says: str, forkpoint_: Forkpoint):
    Path("run.yaml").write_text(text)
    told = forkpoint_("train", "--config", "run.yaml", "--print-config")
    assert told.code == 2
    assert says in told.error


def test_a_missing_config_file_is_a_usage_error(forkpoint_: Forkpoint):
    told = forkpoint_("train", "--config", "no.yaml")
    assert (told.code, "no.yaml: cannot be read" in told.error) == (2, True)


def test_train_passes_the_config_on_and_prints_the_run_folder(forkpoint_: Forkpoint, monkeypatch: pytest.MonkeyPatch):
    from forkpoint.recipes import train as recipe

    seen: list[RunConfig] = []

    def record(run: RunConfig, *, show: object = None, tell: object = None) -> Path:
        seen.append(run)
        return run.folder

    monkeypatch.setattr(recipe, "train", record)
    told = forkpoint_("train", "--seed", "3", "--name", "mine")
    assert (told.code, told.out) == (0, "runs/mine-3\n")
    assert seen == [RunConfig(seed=3, name="mine")]


def test_train_will_not_write_over_a_run(forkpoint_: Forkpoint):
    write_run(Path("taken"))
    told = forkpoint_("train", "--out", "taken")
    remedy = "go on with it with --resume, replace it with --overwrite, or choose another --out"
    assert (told.code, remedy in told.error) == (2, True)


OUTSIDE = """
from forkpoint.methods import Method, method
from forkpoint.objectives.clip import clip

@method
def mine(*, clip_low: float = 0.2) -> Method:
    return Method((), clip(clip_low=clip_low, clip_high=0.2))
"""


def test_a_method_in_a_file_of_the_folder_one_stands_in_is_found(tmp_path: Path):
    """As an installed script sees it: without the current folder on the path."""
    (tmp_path / "my_methods.py").write_text(OUTSIDE)
    call = "import sys; sys.path.remove(''); from forkpoint.cli import main; sys.exit(main(sys.argv[1:]))"
    small = "--steps 1 --prompts-per-step 2 --eval-problems 2 --eval-samples 2 --threads 1 --out run"
    words = [sys.executable, "-c", call, "train", "--method", "my_methods:mine", *small.split()]
    done = subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": SRC}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "run\n"), done.stderr
    assert open_run(tmp_path / "run").header["method"]["name"] == "mine"


def test_demo_prints_the_page(forkpoint_: Forkpoint, monkeypatch: pytest.MonkeyPatch):
    from forkpoint.recipes import demo as recipe

    def record(out: Path, *, short: bool, seed: int, show: object) -> Path:
        assert (short, seed, show) == (True, 7, None)
        return out / "report.html"

    monkeypatch.setattr(recipe, "demo", record)
    monkeypatch.setattr(recipe, "configs", lambda *words, **settings: [])
    told = forkpoint_("demo", "--short", "--seed", "7", "--out", "there")
    assert (told.code, told.out) == (0, "there/report.html\n")


def test_progress_is_silent_without_a_terminal_and_one_line_per_run_with_one(tmp_path: Path):
    with progress.display() as show:
        assert show is None
    arm = RunConfig(name="GRPO", out=str(tmp_path / "run"), steps=300)
    assert progress.line(arm) == "GRPO  waiting"
    write_run(arm.folder)
    assert progress.line(arm) == "GRPO  step 241 of 300  accuracy 0.534  entropy 0.200"
    (arm.folder / "run.json").write_text("{")
    assert "run.json" in progress.line(arm)


# ---- forecast


def test_forecast_prints_the_law_its_baselines_and_a_backtest(forkpoint_: Forkpoint):
    told = forkpoint_("forecast", str(write_run(Path("run"))))
    assert told.code == 0
    law = next(line for line in told.out.splitlines() if "entropy_exchange" in line)
    assert "0.600" in law  # the ceiling, 0.9 - 0.3
    assert "linear_entropy" in told.out and "saturating_step" in told.out
    last = told.out.strip().splitlines()[-1]
    assert last.startswith("backtest: 4 evaluations fitted, 9 later ones predicted from the entropy that came: ")
    assert "entropy_exchange rmse 0.0000, last " in last


def test_a_run_too_short_to_test_can_still_be_fitted(forkpoint_: Forkpoint):
    told = forkpoint_("forecast", str(write_run(Path("run"), points=4)))
    assert told.code == 0
    assert "no backtest: " in told.out


def test_forecast_of_a_run_that_spent_no_entropy_is_refused(forkpoint_: Forkpoint):
    told = forkpoint_("forecast", str(write_run(Path("run"), last_entropy=0.899)))
    assert (told.code, told.out) == (3, "")
    assert "entropy_exchange: " in told.error


def test_forecast_as_json_holds_the_same_numbers(forkpoint_: Forkpoint):
    told = json.loads(forkpoint_("forecast", str(write_run(Path("run"))), "--json").out)
    law = told["fits"][0]
    assert law["ceiling"] == pytest.approx(0.6, abs=1e-3)
    assert law["ceiling_interval"]["low"] <= law["ceiling"] <= law["ceiling_interval"]["high"]
    assert told["run"] == "a run"


def test_forecast_of_a_managed_run_is_refused_unless_asked_for(forkpoint_: Forkpoint):
    run = str(write_run(Path("run"), method=KL_COV))
    told = forkpoint_("forecast", run)
    assert (told.code, told.out) == (3, "")
    assert "kl_cov" in told.error or "intervene" in told.error
    assert forkpoint_("forecast", run, "--anyway").code == 0


def test_forecast_of_too_short_a_run_is_refused(forkpoint_: Forkpoint):
    told = forkpoint_("forecast", str(write_run(Path("run"), points=3)))
    assert told.code == 3
    assert told.error


def test_a_gate_that_trips_says_where_and_ends_with_three(forkpoint_: Forkpoint):
    run = str(write_run(Path("run")))
    told = forkpoint_("forecast", run, "--fail-if", "entropy/full<0.25", "--fail-if", "accuracy > 0.99")
    assert told.code == 3
    assert told.err == "forkpoint: gate failed: entropy/full<0.25: entropy/full is 0.2 at train step 241\n"
    assert "entropy_exchange" in told.out
    assert forkpoint_("forecast", run, "--fail-if", "entropy/full<0.2").code == 0


def test_a_gate_that_looks_at_more_values_than_there_are_is_said_to_be_not_judged(forkpoint_: Forkpoint):
    run = str(write_run(Path("run")))
    told = forkpoint_("forecast", run, "--fail-if", "accuracy<0.99 for 99")
    assert told.code == 0
    assert "warning: gate accuracy<0.99 for 99: a run has 13 values of accuracy, so it was not judged" in told.err
    assert "judged" not in forkpoint_("forecast", run, "--fail-if", "accuracy>0.99 for 13").err


def test_a_gate_on_an_unknown_column_names_the_nearest(forkpoint_: Forkpoint):
    told = forkpoint_("forecast", str(write_run(Path("run"))), "--fail-if", "acuracy<0.1")
    assert told.code == 2
    assert "no column 'acuracy'; did you mean 'accuracy'?" in told.error


@pytest.mark.parametrize("text", ["entropy", "entropy<", "<0.1", "entropy<low", "entropy<nan", "entropy==0.1", "a<b<1"])
def test_a_gate_has_one_form(text: str):
    with pytest.raises(ValueError, match="is not KEY<NUMBER"):
        gates.parse(text)


def test_a_value_that_is_not_a_number_trips_every_gate():
    assert all(gates.Gate("x", relation, 0.5).fails(float("nan")) for relation in gates.OPERATORS)


# ---- report, ls, doctor


def test_report_writes_one_page_and_prints_its_path(forkpoint_: Forkpoint):
    pytest.importorskip("plotly", reason="the report extra")
    told = forkpoint_("report", str(write_run(Path("one"))), str(write_run(Path("two"))), "--out", "page.html")
    assert (told.code, told.out) == (0, "page.html\n"), told.err
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in Path().iterdir()) == ["one", "page.html", "two"]


def test_a_page_that_cannot_be_written_is_a_usage_error_and_leaves_nothing(forkpoint_: Forkpoint):
    pytest.importorskip("plotly", reason="the report extra")
    run = str(write_run(Path("run")))
    Path("page.html").mkdir()
    Path("nowhere").write_text("")
    for out in ("nowhere/page.html", "page.html"):
        told = forkpoint_("report", run, "--out", out)
        assert (told.code, f"{out}: cannot be written" in told.error) == (2, True)
    assert sorted(path.name for path in Path().iterdir()) == ["nowhere", "page.html", "run"]


def test_ls_lists_runs_with_their_last_values(forkpoint_: Forkpoint):
    write_run(Path("runs/first"))
    write_run(Path("runs/second"), method=KL_COV)
    rows = json.loads(forkpoint_("ls", "--json").out)
    assert [row["run"] for row in rows] == ["runs/first", "runs/second"]
    assert rows[1]["method"] == "kl_cov"
    assert (rows[0]["steps"], rows[0]["state"]) == (241, "done")
    assert rows[0]["entropy"] == pytest.approx(0.2)
    table = forkpoint_("ls").out
    assert re.search(r"runs/first +grpo +countdown +241 +done +0\.534 +0\.200", table)


def test_ls_of_an_empty_folder_says_so(forkpoint_: Forkpoint, tmp_path: Path):
    told = forkpoint_("ls", str(tmp_path))
    assert (told.code, told.out, "no runs in" in told.err) == (0, "", True)


def test_a_damaged_run_hides_no_other(forkpoint_: Forkpoint):
    write_run(Path("runs/sound"))
    (write_run(Path("runs/broken")) / "run.json").write_text("{}")
    told = forkpoint_("ls")
    assert told.code == 4
    assert re.search(r"runs/broken .*damaged", told.out) and re.search(r"runs/sound .*done", told.out)
    assert "run.json" in told.err


def test_doctor_finds_nothing_wrong_with_a_sound_run_and_the_fault_of_a_damaged_one(forkpoint_: Forkpoint):
    run = write_run(Path("run"))
    assert forkpoint_("doctor", "run").out == "run: no problems\n"
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([*text[:3], text[3].replace("entropy", "emtropy"), *text[4:]]))
    told = forkpoint_("doctor", "run")
    assert told.code == 4
    assert "metrics.jsonl" in told.out
    assert json.loads(forkpoint_("doctor", "run", "--json").out)[0]["file"].endswith("metrics.jsonl")
    assert forkpoint_("forecast", "run").code == 4


def test_doctor_repairs_what_it_can_once_and_names_the_rest(forkpoint_: Forkpoint):
    run = write_run(Path("run"))
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join([*lines[:3], b"x" + lines[3], *lines[4:], b"half"]))
    told = forkpoint_("doctor", "run", "--repair")
    assert told.code == 0 and told.out.count("\n") == 3, told.out
    assert "half a line dropped" in told.out and "1 damaged lines moved to run/damaged/metrics.jsonl" in told.out
    assert forkpoint_("doctor", "run", "--repair").out == "run: no problems\n"
    assert open_run(run).lost_lines == 1
    (run / "manifest.json").unlink()
    told = forkpoint_("doctor", "run", "--repair", "--json")
    found = json.loads(told.out)
    assert (told.code, found["repaired"]) == (4, []) and found["problems"][0]["file"].endswith("manifest.json")
    assert forkpoint_("doctor", "--repair").error.startswith("--repair: name the run folder")


def test_doctor_repairs_no_run_that_is_being_written(forkpoint_: Forkpoint):
    writer = RunWriter.create(Path("run"), name="n", config={}, method=GRPO, task="t", seed=0, definitions={})
    told = forkpoint_("doctor", "run", "--repair")
    assert told.code == 4 and f"run: is being written by process {os.getpid()}" in told.error
    writer.close()


def test_doctor_lists_what_is_installed(forkpoint_: Forkpoint):
    told = forkpoint_("doctor", "--json")
    found = {entry["package"]: entry for entry in json.loads(told.out)["packages"]}
    assert found["numpy"]["installed"] == np.__version__
    assert found["numpy"]["extra"] == "core"
    assert found["plotly"]["extra"] == "report"
    assert told.code == (4 if doctor.policy_fault() else 0)
    assert "numpy" in forkpoint_("doctor").out


def test_doctor_tells_missing_and_too_old_packages_apart_from_sound_ones(monkeypatch: pytest.MonkeyPatch):
    lines = ['numpy>=999; extra == "big"', "no-such-package", "rich>=1", 'numpy; extra == "dev"']
    monkeypatch.setattr(doctor, "_own", lambda: lines)
    old, missing, sound = doctor.packages()
    assert old.remedy == "pip install 'forkpoint[big]'" and old.installed
    assert (missing.installed, missing.remedy) == ("", "pip install 'no-such-package'")
    assert sound.remedy == ""


def test_the_shipped_policy_is_missed_piece_by_piece(tmp_path: Path):
    assert doctor.policy_fault(tmp_path).startswith("missing")
    (tmp_path / "config.json").touch()
    assert doctor.policy_fault(tmp_path).startswith("has no weights")
    (tmp_path / "model.safetensors").touch()
    assert doctor.policy_fault(tmp_path) == ""
