"""A disk that is full, gone or read-only stops no training, and what fits into memory is lost to nobody."""

import errno
import os
import random
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from small_run import kill, reading, rollout, write_steps
from tests.conftest import counts

from forkpoint.record import RecordError, RunWriter, _begin, _store, open_run
from forkpoint.record.check import check

STEPS = 6


class Disk:
    """Takes ``room`` more bytes, then is full: what does not fit is cut, as a file system does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: float = float("inf")) -> None:
        self.room, self.written, self._write = room, 0, os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: Any) -> int:
        fitting = int(min(len(data), self.room))
        if fitting == 0 and len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= fitting
        self.written += fitting
        return self._write(descriptor, bytes(data)[:fitting])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def failing() -> Any:
    """The one warning that a writer gives may come or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.fixture
def one_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run has as many bytes."""
    found = _begin.identity()
    monkeypatch.setattr("forkpoint.record.write.identity", lambda: found)


def rows_of(path: Any) -> tuple[list[str], list[str]]:
    run = open_run(path)
    return [repr({**row, "time": 0}) for row in run.metrics()], [repr(row) for row in run.rollouts()]


def test_a_disk_full_at_any_byte_leaves_a_prefix_and_with_room_again_nothing_is_missing(
    create: Callable[..., RunWriter], disk: Disk, failing: None, one_identity: None
):
    """Half the offsets are full for one step, half to the end of the run."""
    whole = create("whole", part_every=2)
    before = disk.written
    write_steps(whole, range(1, STEPS + 1))
    whole.close()
    wanted, total = rows_of(whole.path), disk.written - before
    for number, offset in enumerate(random.Random(0).sample(range(total), counts(30, 300))):
        writer = create(f"full-{number}", part_every=2)
        disk.room = offset
        for step in range(1, STEPS + 1):
            write_steps(writer, range(step, step + 1))
            for seen, all_rows in zip(rows_of(writer.path), wanted, strict=True):
                assert seen == all_rows[: len(seen)], "while the disk is full, readers see the first rows"
            if number % 2 or step == STEPS:
                disk.room = float("inf")
        writer.close()
        assert rows_of(writer.path) == wanted and writer.lost == 0
        assert [problem for problem in check(writer.path) if "is not in manifest" not in problem.what] == []


def test_a_disk_full_at_any_byte_of_the_creation_makes_no_half_a_run(create, disk, tmp_path):
    before = disk.written
    create("whole")
    total = disk.written - before
    for offset in range(0, total - 100, total // 20):
        disk.room = offset
        with pytest.raises(OSError, match="No space left"):
            create(f"full-{offset}")
        with pytest.raises(RecordError, match=r"has no run\.json"):
            open_run(tmp_path / f"full-{offset}")
        disk.room = float("inf")
        create(f"full-{offset}").close()


def test_the_first_failure_warns_and_all_are_counted(create, disk):
    writer = create()
    disk.room = 0
    with pytest.warns(RuntimeWarning, match=r"run: cannot be written \(No space left on device\); the run goes on"):
        writer.metrics("train", 1, reading(1))
    writer.metrics("train", 2, reading(2))
    assert (writer.failures, writer.first_failure, writer.lost) == (2, "No space left on device", 0)
    disk.room = float("inf")
    writer.metrics("train", 3, reading(3))
    assert open_run(writer.path).column("reward")[0].tolist() == [1, 2, 3]


def test_strict_raises_and_forgets_the_call(create, disk):
    writer = create(strict=True)
    disk.room = 0
    with pytest.raises(OSError, match="No space left"):
        writer.metrics("train", 1, reading(1))
    disk.room = float("inf")
    writer.metrics("train", 1, reading(1))
    assert open_run(writer.path).column("reward")[0].tolist() == [1], "the caller who tried again wrote it once"


def test_what_exceeds_the_memory_is_lost_and_the_record_says_how_much(create, disk, failing, monkeypatch):
    monkeypatch.setattr("forkpoint.record._tolerant.MOST_BYTES", 3000)
    writer = create()
    disk.room = 0
    write_steps(writer, range(1, 41))
    assert 0 < writer.lost < 3 * 40
    disk.room = float("inf")
    write_steps(writer, range(41, 43))
    run = open_run(writer.path)
    told = [row for row in run.metrics() if "guard/record_lost" in row]
    assert len(told) == 1 and told[0]["guard/record_lost"] == writer.lost
    assert len(run.metrics()) + len(run.rollouts()) + writer.lost == 3 * 42
    assert run.steps == 42 and check(writer.path) == []


def test_completions_go_before_readings(create, disk, failing, monkeypatch):
    monkeypatch.setattr("forkpoint.record._tolerant.MOST_BYTES", 3000)
    writer = create()
    disk.room = 0
    write_steps(writer, range(1, 9))
    disk.room = float("inf")
    writer.metrics("train", 9, {})
    run = open_run(writer.path)
    assert [row["step"] for row in run.metrics()] == list(range(1, 10)) and len(run.rollouts()) < 16


def test_what_is_still_waiting_at_the_end_is_told(create, disk):
    writer = create()
    disk.room = 0
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        write_steps(writer, range(1, 3))
    with pytest.warns(RuntimeWarning, match=r"6 readings and completions were not recorded \(No space left"):
        writer.close()
    assert open_run(writer.path).status["state"] == "running", "it could not be written either"


@pytest.mark.parametrize("which", ["_metrics", "_tail"])
def test_a_dead_descriptor_is_replaced(create, which, failing):
    writer = create()
    write_steps(writer, range(1, 2))
    os.close(getattr(writer._store.store, which)._descriptor)
    write_steps(writer, range(2, 4))
    assert writer.failures == 1 and len(open_run(writer.path).rollouts()) == 6 and open_run(writer.path).steps == 3
    assert check(writer.path) == []


def test_a_vanished_folder_stops_nothing_and_is_told(create):
    writer = create(part_every=2)
    write_steps(writer, range(1, 2))
    shutil.rmtree(writer.path)
    with pytest.warns(RuntimeWarning, match=r"cannot be written \(the file was removed\)"):
        write_steps(writer, range(2, 6))
    with pytest.warns(RuntimeWarning, match="not recorded"):
        writer.close()
    assert not writer.path.exists(), "a folder that someone removed is not made again"


def test_a_folder_moved_away_and_back_has_lost_nothing(create, failing):
    writer = create(part_every=2)
    write_steps(writer, range(1, 4))
    away = writer.path.rename(writer.path.with_name("away"))
    write_steps(writer, range(4, 6))
    away.rename(writer.path)
    write_steps(writer, range(6, 8))
    writer.close()
    assert len(open_run(writer.path).rollouts()) == 14 and open_run(writer.path).steps == 7


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO, errno.EDQUOT, errno.ESTALE])
def test_other_errors_of_the_system_are_treated_alike(create, monkeypatch, failing, error):
    writer, write = create(part_every=2), os.write

    def refuse(*_: Any) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "write", refuse)
    write_steps(writer, range(1, 4))
    assert writer.failures == 6
    monkeypatch.setattr(os, "write", write)
    write_steps(writer, range(4, 5))
    assert len(open_run(writer.path).rollouts()) == 8 and open_run(writer.path).steps == 4


def test_a_part_that_cannot_be_written_keeps_its_rows_in_the_tail(create, monkeypatch, failing):
    writer, replace = create(part_every=2), os.replace

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    write_steps(writer, range(1, 6))
    assert writer.failures > 0 and len(open_run(writer.path).rollouts()) == 10
    monkeypatch.setattr(os, "replace", replace)
    writer.close()
    assert len(open_run(writer.path).rollouts()) == 10 and check(writer.path) == []


def test_a_run_that_lost_rows_can_be_resumed(create, disk, failing, monkeypatch):
    monkeypatch.setattr("forkpoint.record._tolerant.MOST_BYTES", 0)
    writer = create()
    write_steps(writer, range(1, 3))
    disk.room = 0
    write_steps(writer, range(3, 5))
    disk.room = float("inf")
    write_steps(writer, range(5, 7))
    writer.close()
    resumed = RunWriter.resume(writer.path, 2)
    write_steps(resumed, range(3, 8))
    resumed.close()
    run = open_run(writer.path)
    assert [row["step"] for row in run.metrics()] == list(range(1, 8)), "the new attempt has what the first one lost"
    assert run.attempts == [2] and [row["sample"] for row in run.rollouts()] == [0, 1] * 7


@pytest.mark.parametrize("room", [0, 60, 110, 400, 700])
def test_strict_forgets_the_call_but_not_the_beginning_of_its_attempt(create, disk, room):
    """Without it the lines that follow would belong to an attempt that nobody began."""
    writer = create(strict=True)
    write_steps(writer, range(1, 6))
    kill(writer)
    resumed = RunWriter.resume(writer.path, 2, strict=True)
    write_steps(resumed, range(3, 4))
    disk.room = room
    with pytest.raises(OSError, match=r"No space left|no room"):
        resumed.metrics("train", 4, {"reward": -1.0})
        resumed.rollouts([rollout(4, sample) for sample in range(2)])
    disk.room = float("inf")
    resumed.metrics("train", 4, {"reward": -1.0})
    resumed.close("failed")
    run = open_run(writer.path)
    assert run.attempts == [3] and check(writer.path) == []
    assert {row["reward"] for row in run.metrics("train") if row["step"] == 4} == {-1.0}


def test_a_manifest_that_cannot_be_written_for_long_leaves_no_parts_that_nobody_names(create, failing, monkeypatch):
    """The tail takes all rows meanwhile; each try encodes what waits, so there are a few of them only."""
    writer, tries, whole = create(part_every=10), [], _store.write_manifest

    def refused(*_: Any) -> None:
        tries.append(len(list((writer.path / "rollouts").glob("part-*"))))
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(_store, "write_manifest", refused)
    write_steps(writer, range(1, 41))
    assert 4 <= len(tries) <= 8 and set(tries) == {1}, "the part of this try, and of no other"
    monkeypatch.setattr(_store, "write_manifest", whole)
    writer.close()
    assert len(open_run(writer.path).rollouts()) == 80 and check(writer.path) == []


def test_readings_without_completions_are_counted_in_the_status_too(create):
    writer = create(part_every=5)
    for step in range(1, 18):
        writer.metrics("train", step, reading(step))
    status = open_run(writer.path).status
    assert (status["state"], status["step"], status["lines"]) == ("running", 12, 12)
    kill(writer)
    path = writer.path / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:9]))
    assert [p.what for p in check(writer.path)] == ["ends after 9 lines where status.json states 12"]


def test_strict_tells_of_no_failure_where_only_the_status_could_not_be_written(create, monkeypatch):
    """The reading is on disk by then, and a caller who tried again would write it twice."""
    writer = create(part_every=2, strict=True)

    def refused(*_: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(_store, "write_status", refused)
        for step in range(1, 9):
            writer.metrics("train", step, reading(step))
    writer.close()
    assert open_run(writer.path).column("reward")[0].tolist() == list(range(1, 9)) and check(writer.path) == []
