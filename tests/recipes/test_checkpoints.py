"""What ``forkpoint train`` does to checkpoints: none is lost to a mistake, none of another run is taken."""

import json
import shutil
from dataclasses import replace

import pytest

from forkpoint import alarms
from forkpoint.config import RunConfig
from forkpoint.recipes.train import train
from forkpoint.record import RecordError, RunWriter, open_run
from forkpoint.record.repair import repair

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
SMALL = {"steps": 4, "prompts_per_step": 2, "eval_problems": 2, "eval_samples": 2, "eval_every": 2, "threads": 1}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    place = tmp_path_factory.mktemp("saved") / "run"
    train(RunConfig(out=str(place), **SMALL, save_every=1, keep_checkpoints=3))
    return place


@pytest.fixture
def place(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


def config(place, **changed):
    return RunConfig(out=str(place), **SMALL | {"save_every": 1, "keep_checkpoints": 3} | changed)


def names(place):
    return sorted(folder.name for folder in (place / "checkpoints").glob("checkpoint-*"))


KEPT = ["checkpoint-2", "checkpoint-3", "checkpoint-4"]


def test_a_misspelt_overwrite_costs_no_checkpoint(place):
    with pytest.raises(ValueError, match="did you mean 'grpo'"):
        train(config(place, overwrite=True, method="gropo"))
    assert names(place) == KEPT


def test_overwriting_a_run_in_progress_costs_it_no_checkpoint(place):
    with RunWriter.resume(place, 4), pytest.raises(RecordError, match="is being written"):
        train(config(place, overwrite=True))
    assert names(place) == KEPT


def test_a_run_that_begins_anew_leaves_none_of_the_older_ones(place):
    train(config(place, overwrite=True, save_every=0))
    assert names(place) == []


def test_a_run_goes_on_from_none_of_another_run(place):
    """As where checkpoints stay behind a record that was removed by hand."""
    shutil.move(place / "checkpoints", place.parent / "stale")
    train(config(place, overwrite=True, save_every=0, learning_rate=1e-3))
    shutil.move(place.parent / "stale", place / "checkpoints")
    before = _readings(place)
    with pytest.warns(UserWarning, match="belongs to another run"):
        train(config(place, resume=True, learning_rate=1e-3))
    assert _readings(place) == before and open_run(place).attempts == []


def test_after_a_repair_a_run_goes_on_from_where_its_record_ends(place):
    before, file = _readings(place), place / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[-2:] = [b"damaged\n"]
    file.write_bytes(b"".join(lines))
    repair(place)
    assert open_run(place).steps == 3
    with pytest.warns(UserWarning, match="checkpoint-4: is past step 3, where the record ends"):
        train(config(place, resume=True))
    assert _readings(place) == before


def test_a_checkpoint_for_an_alarm_lasts_although_no_others_are_saved(tmp_path, monkeypatch):
    always = replace(alarms.CONDITIONS["dead_groups"], patience=1, limit=0.0)
    monkeypatch.setitem(alarms.CONDITIONS, "dead_groups", always)
    place = tmp_path / "run"
    train(config(place, save_every=0, on_alarm="stop"))
    assert names(place) == ["checkpoint-1"] and open_run(place).status["state"] == "stopped"
    train(config(place, save_every=0, on_alarm="log", resume=True))
    assert open_run(place).steps == 4 and open_run(place).attempts == []


def _readings(place):
    rows = [{k: v for k, v in row.items() if "time" not in k} for row in open_run(place).metrics()]
    return json.dumps(sorted(rows, key=lambda row: (row["step"], row["kind"])), sort_keys=True)
