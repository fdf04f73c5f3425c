"""A writer that dies between any two of its system calls, or a disk that is full, loses nothing it had acknowledged."""

import contextlib
import errno
import itertools
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_run import kill, reading, rollout
from tests.conftest import counts

from forkpoint.record import RecordError, RunWriter, open_run
from forkpoint.record.check import check

CALLS = ("write", "replace", "fsync", "ftruncate", "unlink")
STEPS = 3


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the writer may run after it."""


class Fault:
    """Counts the writer's system calls; from number ``at`` on the process is dead."""

    def __init__(self, at: int, *, torn: bool = False) -> None:
        self.at, self.torn, self.seen = at, torn, 0

    def wrap(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            self.seen += 1
            if self.seen < self.at:
                return call(*arguments)
            if self.seen == self.at and self.torn and name == "write":
                call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            raise Killed

        return wrapped


@contextmanager
def calls_replaced(replace: Callable[[Callable[..., Any], str], Callable[..., Any]]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, replace(getattr(os, name), name))
        yield


def live(create: Callable[..., RunWriter], done: list[str]) -> None:
    """A run's life; ``done`` grows by what the writer acknowledged."""
    writer = create(part_every=2)
    done.append("created")
    write(writer, 0, done)
    writer.close()
    done.append("closed")


def write(writer: RunWriter, after: int, done: list[str]) -> None:
    for step in range(after + 1, STEPS + 1):
        writer.metrics("train", step, reading(step))
        done.append("metrics")
        writer.rollouts([rollout(step, sample) for sample in range(2)])
        done.append("rollouts")


def wanted_rows(create: Callable[..., RunWriter]) -> tuple[list[str], list[str]]:
    live(lambda **changes: create("whole", **changes), [])
    return rows_of(create("sibling").path.parent / "whole")


def rows_of(path: Path) -> tuple[list[str], list[str]]:
    run = open_run(path)
    return [repr({**row, "time": 0}) for row in run.metrics()], [repr(row) for row in run.rollouts()]


@pytest.mark.parametrize("torn", [False, True], ids=["before the call", "in the middle of a write"])
def test_killed_at_any_call_the_reader_sees_a_whole_prefix(create, tmp_path, torn):
    metrics, rollouts = wanted_rows(create)
    for at in itertools.count(1):
        fault, done, name = Fault(at, torn=torn), [], f"killed-{at}"
        try:
            with calls_replaced(fault.wrap):
                live(lambda name=name, **changes: create(name, **changes), done)
        except Killed:
            pass
        if "closed" in done:
            assert at > 60, "the writer makes this many calls at least, so the loop did test them"
            break
        if "created" not in done and not (tmp_path / name / "run.json").exists():
            with pytest.raises(RecordError):
                open_run(tmp_path / name)
            create(name).close()  # what a dead creation left is in nobody's way
            continue
        seen_metrics, seen_rollouts = rows_of(tmp_path / name)
        assert seen_metrics == metrics[: len(seen_metrics)] and len(seen_metrics) >= done.count("metrics")
        assert seen_rollouts == rollouts[: len(seen_rollouts)] and len(seen_rollouts) >= 2 * done.count("rollouts")


def test_killed_at_any_call_the_run_is_resumed_and_ends_as_if_it_had_not_been(create, tmp_path):
    wanted = wanted_rows(create)
    for at in itertools.count(1, counts(3, 1)):
        fault, done, name = Fault(at, torn=at % 2 == 0), [], f"resumed-{at}"
        try:
            with calls_replaced(fault.wrap):
                live(lambda name=name, **changes: create(name, **changes), done)
        except Killed:
            pass
        if "closed" in done:
            break
        if (tmp_path / name / "run.json").exists():
            resumed = RunWriter.resume(tmp_path / name, open_run(tmp_path / name).steps // 2, part_every=2)
            write(resumed, open_run(tmp_path / name).steps // 2, [])
            resumed.close()
            assert rows_of(tmp_path / name) == wanted and check(tmp_path / name) == []


def test_killed_at_any_call_of_a_resume_the_run_can_be_resumed_again(create, tmp_path):
    """From a run with all there is to clean: half a line, rows that a part has too, a loose part, a temporary file."""
    wanted = wanted_rows(create)
    killed = create("killed", part_every=2)
    write(killed, 0, [])
    tail = (killed.path / "rollouts/tail.jsonl").read_bytes()
    killed.close("stopped")
    (killed.path / "rollouts/tail.jsonl").write_bytes(tail + b'{"row":6,"ki')
    (killed.path / "rollouts/part-000007.parquet").write_bytes(b"PAR1")
    (killed.path / ".status.json.0123abcd.tmp").write_bytes(b"{")
    for at in itertools.count(1, counts(2, 1)):
        path, fault, done = shutil.copytree(killed.path, tmp_path / f"again-{at}"), Fault(at, torn=at % 3 == 0), []
        with contextlib.suppress(Killed), calls_replaced(fault.wrap):
            resumed = RunWriter.resume(path, 1, part_every=2)
            write(resumed, 1, done)
            resumed.close()
            done.append("closed")
        if "closed" in done:
            assert at > 15, "the loop has passed the last call, and there were calls to die at"
            break
        kill(resumed) if done else None
        with RunWriter.resume(path, 1, part_every=2) as last:
            write(last, 1, [])
        assert rows_of(path) == wanted and check(path) == [], at


@pytest.mark.parametrize("torn", [False, True], ids=["instead of the call", "after the call"])
def test_ctrl_c_at_any_call_closes_a_run_in_which_no_line_is_missing_or_comes_twice(create, torn):
    """Most of a writer's time is spent in system calls, so that is where a signal finds it."""
    metrics, rollouts = wanted_rows(create)
    for at in itertools.count(1):
        writer, done = create(f"ctrl-c-{at}-{torn}", part_every=2), []
        with contextlib.suppress(KeyboardInterrupt), calls_replaced(Interrupt(at, after=torn).wrap), writer:
            write(writer, 0, done)
            done.append("all")
        if "all" in done:
            assert at > 25, "there were calls to interrupt"
            break
        seen_metrics, seen_rollouts = rows_of(writer.path)
        assert seen_metrics == metrics[: len(seen_metrics)] and len(seen_metrics) >= done.count("metrics"), at
        assert seen_rollouts == rollouts[: len(seen_rollouts)] and len(seen_rollouts) >= 2 * done.count("rollouts")
        assert [p for p in check(writer.path) if "is not in manifest" not in p.what] == [], at
        assert open_run(writer.path).status["state"] == "stopped"


class Interrupt:
    """A signal that arrives in system call number ``at``."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.seen = at, after, 0

    def wrap(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            self.seen += 1
            result = call(*arguments) if self.seen != self.at or self.after else None
            if self.seen == self.at:
                raise KeyboardInterrupt
            return result

        return wrapped


@pytest.mark.parametrize("strict", [True, False])
def test_a_full_disk_loses_at_most_what_it_told_of(create, strict):
    """At each call in turn the disk is full once; the caller goes on, as training does."""
    metrics, rollouts = wanted_rows(create)
    for at in itertools.count(1):
        writer, disk = create(f"full-{at}", part_every=2, strict=strict), FullOnce(at)
        with calls_replaced(disk.wrap), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            lost = write_what_fits(writer)
        if not strict:
            writer.close()  # the last call may be the one that failed
        seen_metrics, seen_rollouts = rows_of(writer.path)
        assert set(seen_metrics) <= set(metrics) and len(seen_metrics) >= STEPS - lost
        assert set(seen_rollouts) <= set(rollouts) and len(seen_rollouts) >= 2 * (STEPS - lost)
        assert len(disk.parts) == len(set(disk.parts)), "a part never changes, since a manifest may name it"
        assert strict or (lost == 0 and writer.failures <= 1)
        if disk.seen < at:
            assert at > 25 and lost == 0, "the loop has passed the last call, and there were calls to fail"
            break


class FullOnce:
    """A disk that has no room at one call: a write comes out short, anything else raises."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0
        self.parts: list[str] = []

    def wrap(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            self.seen += 1
            if name == "replace" and Path(arguments[1]).suffix == ".parquet":
                self.parts.append(str(arguments[1]))
            if self.seen != self.at:
                return call(*arguments)
            if name == "write":
                return call(arguments[0], bytes(arguments[1])[:10])
            raise OSError(errno.ENOSPC, "no space left on device")

        return wrapped


def write_what_fits(writer: RunWriter) -> int:
    """How many calls raised, of a metrics and a rollouts call per step."""
    lost = 0
    for step in range(1, STEPS + 1):
        try:
            writer.metrics("train", step, reading(step))
        except OSError:
            lost += 1
        try:
            writer.rollouts([rollout(step, sample) for sample in range(2)])
        except OSError:
            lost += 1
    return lost
