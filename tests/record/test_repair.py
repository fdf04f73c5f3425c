"""What can be put right is, once, and said; what cannot be is left as it is, and said too."""

import json
import shutil
from pathlib import Path

import pytest
from small_run import everything, kill, write_steps

from forkpoint.record import RecordError, RunWriter, open_run
from forkpoint.record._seal import key_of, seal
from forkpoint.record.check import check
from forkpoint.record.repair import repair


@pytest.fixture
def killed(create) -> Path:
    writer = create(part_every=2)
    write_steps(writer, range(1, 6))
    kill(writer)
    return writer.path


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def files_of(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file() and f.name != ".lock"}


def test_a_sound_run_is_not_touched(killed):
    before = files_of(killed)
    assert repair(killed) == [] and files_of(killed) == before


def test_a_run_that_is_being_written_is_refused(create):
    writer = create()
    with pytest.raises(RecordError, match="is being written by process"):
        repair(writer.path)


def test_torn_tails_and_leftovers_are_cleared_and_each_is_said_once(killed):
    sound = everything(killed)
    for file in ("metrics.jsonl", "rollouts/tail.jsonl"):
        with (killed / file).open("ab") as end:
            end.write(b'{"half": ')
    (killed / ".status.json.01234567.tmp").write_bytes(b"{")
    shutil.copy(killed / "rollouts/part-000000.parquet", killed / "rollouts/part-000007.parquet")
    done = repair(killed)
    told = ["never finished", "half a line", "half a line", "damaged/part-000007.parquet; no manifest names it"]
    assert len(done) == 4 and all(words in line for words, line in zip(told, done, strict=True))
    assert everything(killed) == sound and check(killed) == [] and repair(killed) == []


def test_a_part_whose_rows_are_in_the_tail_is_deleted(create, monkeypatch):
    """The writer died between a part and the manifest that would have named it."""
    writer = create(part_every=2)
    write_steps(writer, range(1, 4))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("forkpoint.record._store.write_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        # one that lives would delete the part
        patch.setattr("forkpoint.record._store.Store._clear", lambda *_: None)
        write_steps(writer, range(4, 5))
    kill(writer)
    assert [problem.what for problem in check(writer.path)] == ["is not in manifest.json"]
    (done,) = repair(writer.path)
    assert done.endswith("deleted; its rows are in rollouts/tail.jsonl") and check(writer.path) == []


@pytest.mark.parametrize("damage", ["flip", "delete", "duplicate", "swap", "cut off the end", "another run's"])
def test_damaged_lines_of_the_metrics_are_set_aside_and_counted(killed, create, damage):
    path = killed / "metrics.jsonl"
    lines = lines_of(path)
    other = create("other")
    write_steps(other, range(1, 3))
    changed, lost = {
        "flip": ([lines[0], lines[1].replace(b"0.6", b"0.7"), *lines[2:]], 1),
        "delete": ([*lines[:2], *lines[3:]], 1),
        "duplicate": ([*lines[:2], lines[1], *lines[2:]], 0),
        "swap": ([lines[0], lines[2], lines[1], *lines[3:]], 0),
        "cut off the end": (lines[:2], 2),
        "another run's": ([lines[0], lines_of(other.path / "metrics.jsonl")[1], *lines[2:]], 1),
    }[damage]
    path.write_bytes(b"".join(changed))
    with pytest.raises(RecordError, match=r"metrics\.jsonl: (line|ends after)"):
        open_run(killed).metrics()
    assert check(killed) and repair(killed)
    run = open_run(killed)
    kept = [row["step"] for row in run.metrics()]
    assert kept == {"cut off the end": [1, 2]}.get(damage, [1, 3, 4, 5] if lost and damage != "delete" else kept)
    assert run.lost_lines == lost and check(killed) == [] and repair(killed) == []
    assert len(run.rollouts()) == 10
    resumed = RunWriter.resume(killed, run.steps, part_every=2)
    write_steps(resumed, range(run.steps + 1, 8))
    resumed.close()
    assert open_run(killed).steps == 7 and check(killed) == []


def test_what_was_set_aside_is_kept(killed):
    path = killed / "metrics.jsonl"
    lines = lines_of(path)
    for wrong in (b"wrong\n", b"{}\n"):
        path.write_bytes(b"".join([wrong, *lines_of(path)[1:]]))
        repair(killed)
    assert (killed / "damaged/metrics.jsonl").read_bytes() == b"wrong\n"
    assert (killed / "damaged/metrics.jsonl.1").read_bytes() == b"{}\n"
    assert lines[1:] == lines_of(path)[1:], "sound lines stay as they were, byte by byte"


@pytest.mark.parametrize("which", [0, 2, 3])
def test_a_damaged_row_of_the_tail_is_set_aside_and_counted(killed, which):
    path = killed / "rollouts/tail.jsonl"
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:which], b"x" + lines[which], *lines[which + 1 :]]))
    done = repair(killed)
    assert "1 damaged rows moved to" in done[0] and "counts 1 lost" in done[1]
    run = open_run(killed)
    kept = [(row["step"], row["sample"]) for row in run.rollouts()]
    whole = [(step, sample) for step in range(1, 6) for sample in range(2)]
    assert kept == [*whole[: 6 + which], *whole[7 + which :]] and run.lost_lines == 1
    assert check(killed) == [] and repair(killed) == []
    resumed = RunWriter.resume(killed, 5, part_every=2)
    write_steps(resumed, range(6, 8))
    resumed.close()
    assert len(open_run(killed).rollouts()) == 13 and check(killed) == []


@pytest.mark.parametrize("damage", ["missing", "flipped", "another run's"])
def test_a_status_is_rebuilt(killed, create, damage):
    path, sound = killed / "status.json", open_run(killed).status
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"flipped": path, "another run's": create("o").path / "status.json"}[damage].read_bytes())
        path.write_bytes(path.read_bytes().replace(b"running", b"running" if damage != "flipped" else b"stopped"))
    (done,) = repair(killed)
    assert done.endswith("status.json: rebuilt; the run counts as stopped")
    status = open_run(killed).status
    assert (status["state"], status["step"], status["lines"], status["rows"]) == ("stopped", 5, 5, 10)
    assert status["lines"] >= sound["lines"] and check(killed) == []


def test_a_folder_in_place_of_a_file_is_not_ours_to_replace(killed):
    (killed / "status.json").unlink()
    (killed / "status.json").mkdir()
    assert repair(killed) == [] and (killed / "status.json").is_dir()
    assert "is not a regular file" in str(check(killed))


@pytest.mark.parametrize("file", ["run.json", "manifest.json", "rollouts/part-000000.parquet"])
def test_what_cannot_be_made_again_is_left_and_named(killed, file):
    (killed / file).write_bytes((killed / file).read_bytes()[:-20])
    before = files_of(killed)
    if file == "run.json":
        with pytest.raises(RecordError, match=r"run\.json"):
            repair(killed)
    else:
        assert repair(killed) == []
    assert files_of(killed) == before and any(problem.file.endswith(file) for problem in check(killed))


def test_the_beginning_of_an_attempt_cannot_be_invented(killed):
    resumed = RunWriter.resume(killed, 2, part_every=2)
    resumed.metrics("train", 3, {"reward": 0.0})
    kill(resumed)
    path = killed / "metrics.jsonl"
    lines = lines_of(path)
    assert json.loads(lines[5])["kind"] == "attempt"
    path.write_bytes(b"".join([*lines[:5], b"x" + lines[5], *lines[6:]]))
    before = files_of(killed)
    assert repair(killed) == [] and files_of(killed) == before
    assert "belongs to attempt 1, and attempt 0 was begun last" in str(check(killed))


def test_of_two_different_lines_with_one_number_neither_is_believed(killed):
    path = killed / "metrics.jsonl"
    key = key_of(open_run(killed).header["run_id"])
    with path.open("ab") as file:
        file.write(seal({"n": 4, "kind": "train", "step": 9, "time": 0.0, "reward": 9.0}, key=key))
    repair(killed)
    run = open_run(killed)
    assert run.steps == 4 and run.lost_lines == 1 and len(lines_of(killed / "damaged/metrics.jsonl")) == 2


def test_a_run_of_an_earlier_schema_is_repaired_as_well(tmp_path):
    path = shutil.copytree(Path(__file__).parent / "golden" / "schema-1", tmp_path / "old")
    sound = everything(path)
    assert repair(path) == [] and everything(path) == sound
    lines = lines_of(path / "metrics.jsonl")
    (path / "metrics.jsonl").write_bytes(b"".join([lines[0], b"x" + lines[1], *lines[2:], b"half"]))
    assert len(repair(path)) == 3 and repair(path) == []
    assert open_run(path).lost_lines == 1 and [row["step"] for row in open_run(path).metrics("train")] == [1, 3, 4, 5]
    assert check(path) == []
