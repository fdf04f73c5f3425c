"""One writer per run."""

import errno
import json
import os
import subprocess
import sys

import pytest
from small_run import kill, write_steps

from forkpoint.record import RecordError, RunWriter, _lock, open_run
from forkpoint.record.remove import remove_run

HOLDER = """
import sys
from forkpoint.record import RunWriter
writer = RunWriter.resume(sys.argv[1], 0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(create):
    """A run that another process writes."""
    writer = create()
    writer.close("stopped")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(writer.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        yield writer.path, other
        other.kill()


def test_a_second_writer_is_refused_by_the_pid_of_the_first_and_readers_are_not(held):
    path, other = held
    for write in (lambda: RunWriter.resume(path, 0), lambda: remove_run(path)):
        with pytest.raises(RecordError, match=rf"is being written by process {other.pid}; wait for it") as caught:
            write()
        assert "\n" not in str(caught.value)
    assert open_run(path).status["state"] == "running"
    other.kill()
    other.wait()
    RunWriter.resume(path, 0).close()
    remove_run(path)
    assert not (path / "run.json").exists() and not (path / ".lock").exists()


def test_a_second_writer_in_the_same_process_is_refused_too(create):
    writer = create()
    with pytest.raises(RecordError, match=f"is being written by process {os.getpid()}"):
        RunWriter.resume(writer.path, 0)
    writer.close()
    RunWriter.resume(writer.path, 0).close()
    assert not (writer.path / ".lock").exists()


def test_the_note_of_a_dead_process_is_no_obstacle(create):
    writer = create()
    kill(writer)
    (writer.path / ".lock").write_text(json.dumps({"pid": 1, "boot": "then"}))
    RunWriter.resume(writer.path, 0).close()


def test_a_writer_that_nobody_holds_any_more_lets_go(create):
    path = create().path
    RunWriter.resume(path, 0).close()


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ('{"pid": 7, "boot": "elsewhere"}', "process 7 of another machine"),
        ("", "another process"),
        ("[[" * 99, "another process"),
        ('{"pid": null, "boot": 1}', "another process"),
    ],
)
def test_a_note_says_what_it_can(create, note, told):
    writer = create()
    (writer.path / ".lock").write_text(note)
    with pytest.raises(RecordError, match=f"is being written by {told};"):
        RunWriter.resume(writer.path, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_hold_the_lock_after_its_parent(create):
    """As a data loader's worker that outlives a killed trainer; its copy of the descriptor is closed at the fork."""
    writer = create()
    (asked, ask), (told, tell) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ask)
        os.write(tell, b"forked")
        os.read(asked, 1)
        os._exit(0)
    os.read(told, 6)
    kill(writer)
    RunWriter.resume(writer.path, 0).close()
    os.close(ask)
    assert os.waitpid(child, 0)[1] == 0
    for end in (asked, told, tell):
        os.close(end)


def test_a_file_system_without_locks_is_warned_of_and_used(create, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_lock.fcntl, "flock", refuse)
    with pytest.warns(RuntimeWarning, match="has no locks; see to it that one process at a time writes"):
        writer = create()
    write_steps(writer, range(1, 3))
    writer.close()
    assert open_run(writer.path).steps == 2


def test_a_lock_removed_while_it_is_waited_for_keeps_nobody_out(create, monkeypatch):
    """Between opening the file and locking it, its holder ends and removes it: a lock on it would exclude nobody."""
    first = create()
    flock = _lock.fcntl.flock

    def end_first(*arguments):
        monkeypatch.setattr(_lock.fcntl, "flock", flock)
        first.close()
        flock(*arguments)

    monkeypatch.setattr(_lock.fcntl, "flock", end_first)
    second = RunWriter.resume(first.path, 0)
    with pytest.raises(RecordError, match="is being written"):
        RunWriter.resume(first.path, 0)
    second.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_can_neither_write_nor_close_nor_let_another_in(create):
    """It shares the files, and would give its lines the numbers that its parent gives to other lines."""
    writer = create()
    write_steps(writer, range(1, 3))
    child = os.fork()
    if child == 0:
        refused = 0
        try:
            for write in (
                lambda: writer.metrics("train", 3, {}),
                lambda: writer.rollouts([{"kind": "train", "step": 3}]),
            ):
                try:
                    write()
                except ValueError as error:
                    refused += "a fork of the writer's process cannot write" in str(error)
            writer.close("stopped")
        finally:
            os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    with pytest.raises(RecordError, match="is being written by process"):
        RunWriter.resume(writer.path, 0)
    assert open_run(writer.path).status["state"] == "running"
    write_steps(writer, range(3, 4))
    writer.close()
    assert open_run(writer.path).steps == 3
