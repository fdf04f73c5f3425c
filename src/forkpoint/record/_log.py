"""An append-only file of whole lines, as its one writer holds it."""

import contextlib
import errno
import os
import weakref
from pathlib import Path

# O_APPEND: every write lands at the end. O_BINARY: Windows would turn the line ends into two bytes
FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Log:
    """Appends whole lines to a file that exists; where that fails, the next append puts right what it left."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self.path, self._sync = path, sync
        self._size: int | None = None
        self._open()

    def append(self, data: bytes) -> None:
        """Add lines in one write. Where it raises, no reader will ever see a part of them."""
        if not self._close.alive:
            self._open()
        try:
            self._write(data)
        except BaseException:  # Ctrl-C too: its line would come twice, once more when the run is closed
            self._drop_half_a_line()
            raise
        self._size = (self._size or 0) + len(data)

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        if self._close.alive:
            os.fsync(self._descriptor)

    def renew(self) -> None:
        """Go on with what has this file's name by the next append: it may have been replaced."""
        self._close()
        self._size = None

    def close(self) -> None:
        """Let go of the file; an append opens it again."""
        self._close()

    def _open(self) -> None:
        descriptor = os.open(self.path, FLAGS)
        self._descriptor, self._close = descriptor, weakref.finalize(self, _closed, descriptor)
        size = os.fstat(descriptor).st_size
        self._size = size if self._size is None else self._size
        if size < self._size:
            self._close()
            raise OSError(errno.EIO, "lines that were written are gone")
        # half a line, where a descriptor died in the middle of one
        os.ftruncate(descriptor, self._size)

    def _write(self, data: bytes) -> None:
        if os.fstat(self._descriptor).st_nlink == 0:
            # the write would succeed, and nobody could ever read it
            raise OSError(errno.ENOENT, "the file was removed")
        if os.write(self._descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, "no room for a whole line")
        if self._sync:
            os.fsync(self._descriptor)

    def _drop_half_a_line(self) -> None:
        """It would glue to the next line and damage that too."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._size or 0)
        # the descriptor may be dead or its file removed; the next append finds out by name
        self._close()


def _closed(descriptor: int) -> None:
    # closing can tell of an earlier failed write: what was synced is on disk, and nothing is left to try
    with contextlib.suppress(OSError):
        os.close(descriptor)
