"""What is written is what is read."""

import json
import math
import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import HOSTILE, reading, rollout, write_steps

from forkpoint.record import ROLLOUT_SCHEMA, RecordError, _files, find_runs, open_run
from forkpoint.record.check import check


def test_metrics_come_back_as_floats_with_nan_and_infinities(run):
    rows = open_run(run).metrics("train")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    for row in rows:
        given = reading(row["step"])
        read = {key: row[key] for key in given}
        assert repr(read) == repr(given), "every bit of a float survives, and nan stays nan"


def test_a_column_skips_readings_without_it_and_keeps_nan(run):
    steps, values = open_run(run).column("entropy/full")
    assert steps.tolist() == [1, 3, 5] and np.isnan(values).all()


def test_kinds_do_not_mix(create):
    with create() as writer:
        writer.metrics("eval", 0, {"accuracy": 0.25})
        writer.metrics("train", 1, {"reward": 0.5})
    run = open_run(writer.path)
    assert run.columns("eval") == ["accuracy"] and run.columns("train") == ["reward"]
    assert [row["kind"] for row in run.metrics()] == ["eval", "train"]
    assert run.steps == 1


def test_an_absent_column_names_the_nearest(run):
    with pytest.raises(RecordError, match=r"entropy/ful'.*did you mean 'entropy/full'"):
        open_run(run).column("entropy/ful")


def test_parts_and_tail_give_the_same_rows_in_order(run):
    rows = open_run(run).rollouts()
    assert [(row["step"], row["sample"]) for row in rows] == [(step, i) for step in range(1, 6) for i in range(2)]
    assert {path.name for path in run.glob("rollouts/part-*")} == {"part-000000.parquet", "part-000001.parquet"}
    assert len((run / "rollouts/tail.jsonl").read_bytes().splitlines()) == 4, "steps 4 and 5 wait in the tail"
    committed, waiting = rows[0], rows[-1]
    own = {name: waiting[name] for name in ("step", "sample", "group", "text")}
    assert repr(committed | own) == repr(waiting)


def test_a_rollout_keeps_hostile_text_and_non_finite_floats(run):
    row = open_run(run).rollouts(step=1)[0]
    assert row["text"] == HOSTILE + "1" and row["tokens"] == ["7", "nan", "\n"]
    assert math.isnan(row["entropy"][1]) and row["entropy"][2] == math.inf and row["reward"] == -math.inf
    assert row["group"] == 2**40 + 1 and row["mark"] == [True, False, False]
    assert row["prompt"] is None and list(row) == ROLLOUT_SCHEMA.names


def test_rollouts_are_chosen_by_step_and_kind(create):
    with create() as writer:
        writer.rollouts([{"kind": "train", "step": 1}, {"kind": "eval", "step": 1}, {"kind": "eval", "step": 2}])
    run = open_run(writer.path)
    assert len(run.rollouts(step=1)) == 2 and len(run.rollouts(kind="eval")) == 2
    assert len(run.rollouts(step=1, kind="eval")) == 1 and run.rollouts(step=3) == []


def test_a_lone_surrogate_reads_the_same_from_tail_and_part(create):
    writer = create()
    writer.rollouts([{"kind": "train", "step": 1, "text": "a\ud800b", "tokens": ["\udfff"]}])
    before = open_run(writer.path).rollouts()
    writer.close()
    assert open_run(writer.path).rollouts() == before
    assert before[0]["text"] == "a\ufffdb" and before[0]["tokens"] == ["\ufffd"]


def test_closing_empties_the_tail_and_says_how_it_ended(create):
    writer = create()
    write_steps(writer, range(1, 3))
    assert open_run(writer.path).status["state"] == "running"
    writer.close()
    writer.close()
    status = open_run(writer.path).status
    assert (status["state"], status["step"]) == ("done", 2)
    assert (writer.path / "rollouts/tail.jsonl").read_bytes() == b""
    assert len(open_run(writer.path).rollouts()) == 4


@pytest.mark.parametrize(
    ("error", "state"), [(RuntimeError, "failed"), (KeyboardInterrupt, "stopped"), (SystemExit, "stopped")]
)
def test_a_run_that_is_left_by_an_exception_says_so_and_keeps_its_rows(create, error, state):
    with pytest.raises(error), create() as writer:
        write_steps(writer, range(1, 3))
        raise error
    run = open_run(writer.path)
    assert run.status["state"] == state and len(run.rollouts()) == 4 and run.steps == 2


def test_the_header_holds_what_ran(create):
    @dataclass
    class Meaning:
        estimator: str = "exact"

    writer = create(definitions={"entropy/full": Meaning()}, config={"clip": math.inf, "shares": (0.1, 0.2)})
    header = open_run(writer.path).header
    assert header["definitions"] == {"entropy/full": {"estimator": "exact"}}
    assert header["config"] == {"clip": "inf", "shares": [0.1, 0.2]}
    assert header["method"] == {"name": "grpo", "settings": {"clip_low": 0.2}, "intervenes": False}
    assert header["schema"] == 2 and header["seed"] == 3
    assert header["environment"]["packages"]["numpy"] == np.__version__


def test_the_files_can_be_read_without_forkpoint(run):
    line = (run / "metrics.jsonl").read_bytes().splitlines()[1]
    record = json.loads(line)
    crc = record.pop("crc")
    rest = json.dumps(record, separators=(",", ":")).encode()
    run_id = json.loads((run / "run.json").read_bytes())["run_id"].encode()
    assert crc == f"{zlib.crc32(run_id + rest):08x}"
    table = pq.read_table(run / "rollouts/part-000000.parquet")
    assert table.schema.field("entropy").metadata == {b"about": b"full-softmax entropy at each token, nats"}
    parquet = pq.ParquetFile(run / "rollouts/part-000000.parquet").metadata.row_group(0)
    columns = {parquet.column(i).path_in_schema: parquet.column(i) for i in range(parquet.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["entropy.list.element"].encodings
    assert columns["text"].compression == "ZSTD"


def test_a_folder_with_a_run_is_not_written_over(create, run):
    before = (run / "run.json").read_bytes()
    with pytest.raises(RecordError, match="already holds a run; choose another folder with --out"):
        create()
    (run / "run.json").unlink()
    with pytest.raises(RecordError, match=r"metrics\.jsonl"):
        create()
    assert before and len((run / "metrics.jsonl").read_bytes().splitlines()) == 5


def test_a_folder_with_other_files_can_hold_a_run(create, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    create().close()
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_find_runs_looks_here_and_one_level_down(create, tmp_path):
    create("b").close()
    create("a").close()
    create("deep/er").close()
    assert find_runs(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_runs(tmp_path / "a") == [tmp_path / "a"]
    assert find_runs(tmp_path / "nowhere") == []


MISUSES = {
    "train step 1 comes after step 2": lambda w: w.metrics("train", 1, {}),
    "kind 'test'; choose train or eval": lambda w: w.metrics("test", 3, {}),
    "metric 'step' at step 3: the name is taken": lambda w: w.metrics("train", 3, {"step": 1.0}),
    r"metric 'loss' at step 3 is array\(\[1., 1.\]\), not one number": lambda w: w.metrics(
        "train", 3, {"loss": np.ones(2)}
    ),
    "rollout row 0: no column 'txt'; did you mean 'text'": lambda w: w.rollouts([rollout(3, 0) | {"txt": ""}]),
    "rollout row 1: kind is None": lambda w: w.rollouts([rollout(3, 0), {"step": 1}]),
    "rollout row 0: step is -1; optimizer steps count from 0": lambda w: w.rollouts([{"kind": "eval", "step": -1}]),
    "rollout row 0: step is missing": lambda w: w.rollouts([{"kind": "eval"}]),
    "rollout row 0: verdict is 'right'": lambda w: w.rollouts([{"kind": "eval", "step": 0, "verdict": "right"}]),
    r"differ in length \(tokens 1, label 2\)": lambda w: w.rollouts(
        [{"kind": "eval", "step": 0, "tokens": ["a"], "label": [0, 1]}]
    ),
    "column 'reward' does not hold float": lambda w: w.rollouts([{"kind": "eval", "step": 0, "reward": "much"}]),
    "column 'label' does not hold list": lambda w: w.rollouts([{"kind": "eval", "step": 0, "label": [999]}]),
    "state 'finished'; choose done, failed, stopped": lambda w: w.close("finished"),
}


@pytest.mark.parametrize("message", MISUSES)
def test_misuse_is_one_clear_line_and_writes_nothing(create, message):
    writer = create()
    write_steps(writer, range(1, 3))
    before = {path: path.read_bytes() for path in writer.path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=message) as caught:
        MISUSES[message](writer)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in writer.path.rglob("*") if path.is_file()} == before


def test_a_closed_run_takes_no_more(create):
    writer = create()
    writer.close()
    for write in (lambda: writer.metrics("train", 1, {}), lambda: writer.rollouts([])):
        with pytest.raises(ValueError, match="the run is closed"):
            write()


def test_bad_settings_are_refused_before_anything_is_written(create, tmp_path):
    for changes, message in [
        ({"config": {"a": {"b": {1, 2}}}}, r"config\.a\.b is set, which JSON cannot hold"),
        ({"method": {"name": "grpo"}}, "method lacks settings, intervenes"),
        ({"part_every": 0}, "part_every is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            create(**changes)
    assert not (tmp_path / "run").exists()


def test_importing_the_record_does_not_import_torch():
    code = "import sys, forkpoint.record, forkpoint.record.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_folder_is_all_there_is(run):
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    assert names == [
        ".lock",
        "manifest.json",
        "metrics.jsonl",
        "rollouts/part-000000.parquet",
        "rollouts/part-000001.parquet",
        "rollouts/tail.jsonl",
        "run.json",
        "status.json",
    ], "no temporary file stays behind"


@pytest.mark.parametrize(("sync", "times"), [(True, 1), (False, 0)])
def test_each_append_is_synced_unless_told_otherwise(create, synced, sync, times):
    writer = create(sync=sync)
    for write in (lambda: writer.metrics("train", 1, {}), lambda: writer.rollouts([rollout(1, i) for i in range(9)])):
        synced.clear()
        write()
        assert len(synced) == times


def test_a_replaced_file_and_its_folder_are_synced(tmp_path, synced, monkeypatch):
    replaced = []
    monkeypatch.setattr(os, "replace", lambda *_: replaced.append(len(synced)))
    _files.atomic_write(tmp_path / "file", b"new")
    assert replaced == [1] and len(synced) == 2, "the bytes before the name, the name after"


def test_paths_may_be_text(create):
    writer = create()
    assert open_run(str(writer.path)).path == Path(writer.path)


def test_a_run_of_the_first_schema_reads_as_it_did():
    run = open_run(Path(__file__).parent / "golden" / "schema-1")
    for row in run.metrics("train"):
        given = reading(row["step"])
        assert repr({key: row[key] for key in given}) == repr(given)
    assert run.header["schema"] == 1 and run.steps == 5 and run.column("accuracy", "eval")[1].tolist() == [0.5]
    rows = run.rollouts()
    assert [(row["step"], row["sample"]) for row in rows] == [(step, i) for step in range(1, 6) for i in range(2)]
    assert all(row["text"] == HOSTILE + str(row["step"]) and math.isnan(row["entropy"][1]) for row in rows)
    assert check(run.path) == []
