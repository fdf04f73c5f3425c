"""One writer per run: an advisory lock on ``RUN/.lock`` that dies with its process. Readers never take it."""

import contextlib
import errno
import json
import os
import warnings
import weakref
from pathlib import Path
from typing import Any

from forkpoint.record._error import RecordError
from forkpoint.record.schema import LOCK

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_held: set[int] = set()


class Lock:
    """Held from construction to ``release`` or the end of the process. Raises RecordError while another holds it."""

    def __init__(self, run: Path) -> None:
        self._path, self._pid = run / LOCK, os.getpid()
        self._release = weakref.finalize(self, lambda: None)
        if fcntl is None:
            return
        descriptor = self._descriptor()
        _held.add(descriptor)
        self._release = weakref.finalize(self, _close, descriptor)
        # without the note the lock holds all the same; it only cannot say whose it is
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"pid": os.getpid(), "boot": _boot()}).encode())

    @property
    def ours(self) -> bool:
        """Whether this process took the lock: a fork of it has this object, and not the lock."""
        return self._pid == os.getpid()

    def release(self) -> None:
        """Let the next writer in; a second call does nothing."""
        if self._release.alive and self.ours:
            # while it is still held: whoever opened this file meanwhile finds that it lost its name, and opens anew
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._release()

    def _descriptor(self) -> int:
        while True:
            descriptor = _opened(self._path)
            try:
                _flock(descriptor, self._path)
                if _names(self._path, descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        raise RecordError("is missing", file=path.parent, remedy="give the folder of a run") from None
    except OSError as error:
        raise RecordError(f"cannot be opened ({error.strerror})", file=path, remedy="check its permissions") from error


def _flock(descriptor: int, path: Path) -> None:
    assert fcntl is not None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            told = f"{path.parent}: this file system has no locks; see to it that one process at a time writes the run"
            warnings.warn(told, RuntimeWarning, stacklevel=5)
            return
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        remedy = "wait for it to end, stop it, or choose another folder with --out"
        raise RecordError(f"is being written by {_holder(path)}", file=path.parent, remedy=remedy) from None


def _names(path: Path, descriptor: int) -> bool:
    """Whether the file has not been removed since it was opened: a lock on a nameless file keeps nobody out."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        note: Any = json.loads(path.read_bytes())
        pid, boot = int(note["pid"]), note["boot"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "another process"
    return f"process {pid}" if boot == _boot() else f"process {pid} of another machine"


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _close(descriptor: int) -> None:
    if descriptor in _held:
        _held.discard(descriptor)
        os.close(descriptor)


def _let_go_in_child() -> None:
    # a forked data loader shares the lock, and would hold it on after its parent died
    for descriptor in list(_held):
        _close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
