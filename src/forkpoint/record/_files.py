"""Bytes on disk: whole-line appends, atomic replacement, and reading what they left."""

import errno
import os
import secrets
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.record._error import RecordError
from forkpoint.record._seal import unseal


class Lines(NamedTuple):
    """What a file of sealed lines holds."""

    records: list[dict[str, Any]]
    damaged: list[RecordError]
    torn: int
    """1 where the last line lacks its end, as a killed writer leaves it; that line is not in ``records``"""


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes; RecordError where there is none (a pipe in its place would block for ever)."""
    if not path.exists():
        raise RecordError("is missing", file=path, remedy="restore it from a copy of the run, or run again")
    if not path.is_file():
        raise RecordError("is not a regular file", file=path, remedy="restore it from a copy of the run")
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror})", file=path, remedy="check its permissions") from error


def read_document(path: Path) -> dict[str, Any]:
    """One sealed record that fills a file."""
    try:
        return unseal(read_bytes(path))
    except ValueError as error:
        raise RecordError(str(error), file=path, remedy="restore it from a copy of the run") from error


def read_lines(path: Path) -> Lines:
    """All sealed lines of a file. A line that ends and does not check out is damage, never a torn write."""
    *whole, rest = read_bytes(path).split(b"\n")
    records: list[dict[str, Any]] = []
    damaged: list[RecordError] = []
    for number, line in enumerate(whole, 1):
        try:
            records.append(unseal(line))
        except ValueError as error:
            remedy = f"restore the file from a copy, or delete line {number} to read the others"
            damaged.append(RecordError(str(error), file=path, field=f"line {number}", remedy=remedy))
    return Lines(records, damaged, torn=int(bool(rest)))


def append(descriptor: int, data: bytes, *, sync: bool) -> None:
    """Add whole lines in one write to a file opened with O_APPEND; where that fails the file stays as it was."""
    before = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, "no room for a whole line")
        if sync:
            os.fsync(descriptor)
    except OSError:
        # half a line would glue to the next one and damage that too
        os.ftruncate(descriptor, before)
        raise


def atomic_write(path: Path, data: bytes) -> None:
    """Replace a file so that readers, and a crash at any instant, see the old bytes or the new ones whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write_new(temporary, data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut; a file's own fsync does not cover its name."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_for_append(path: Path) -> int:
    """A descriptor whose every write lands at the end, whoever else writes."""
    # O_BINARY: Windows would turn the line ends into two bytes and break every checksum
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
