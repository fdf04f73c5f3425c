"""Bytes on disk: atomic replacement, and reading what they left."""

import os
import secrets
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.record._error import RecordError
from forkpoint.record._seal import unseal

Key = int | None
"""what a run's checksums go on from; None in a run of schema 1, whose lines are neither numbered nor bound to it"""


class Lines(NamedTuple):
    """What a file of sealed lines holds."""

    found: list[dict[str, Any] | RecordError]
    """in place of a damaged line stands what is wrong with it"""
    torn: int
    """1 where the last line lacks its end, as a killed writer leaves it; that line is not in ``found``"""


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


def read_document(path: Path, key: Key = None) -> dict[str, Any]:
    """One sealed record that fills a file."""
    try:
        return unseal(read_bytes(path), key or 0)
    except ValueError as error:
        raise RecordError(str(error), file=path, remedy="restore it from a copy of the run") from error


def read_lines(path: Path, key: Key) -> Lines:
    """All sealed lines of a file. A line that ends and does not check out is damage, never a torn write."""
    return split_lines(path, read_bytes(path), key)


def split_lines(path: Path, data: bytes, key: Key) -> Lines:
    """The sealed lines of some bytes that stand, or are to stand, in a file."""
    *whole, rest = data.split(b"\n")
    return Lines([_line(path, number, text, key) for number, text in enumerate(whole, 1)], torn=int(bool(rest)))


def _line(path: Path, number: int, text: bytes, key: Key) -> dict[str, Any] | RecordError:
    try:
        return unseal(text, key or 0)
    except ValueError as error:
        return damaged_line(path, number, str(error))


def damaged_line(path: Path, number: int, what: str) -> RecordError:
    """What is wrong with line ``number`` (from 1), and the two ways out."""
    remedy = "restore the file from a copy, or set the line aside with forkpoint doctor RUN --repair"
    return RecordError(what, file=path, field=f"line {number}", remedy=remedy)


def atomic_write(path: Path, data: bytes) -> None:
    """Replace a file so that readers, and a crash at any instant, see the old bytes or the new ones whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write_new(temporary, data)
        os.replace(temporary, path)
    except BaseException:
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


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
