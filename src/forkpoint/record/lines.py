"""Files of sealed lines that grow part by part and are read back in order; for folders of answers."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forkpoint.record._files import atomic_write
from forkpoint.record._seal import seal, unseal

REMEDY = "restore the file from a copy, or make it anew with --overwrite"


def to_line(row: Mapping[str, Any]) -> bytes:
    """One line of JSON with its checksum. Raises ValueError for a number that is not finite.

    >>> to_line({"step": 1})
    b'{"step":1,"crc":"1119ad91"}\\n'
    """
    json.dumps(row, allow_nan=False)  # seal alone would write "nan"
    return seal(row)


def append(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add lines, and return when they are on the disk."""
    with path.open("ab") as file:
        file.write(b"".join(map(to_line, rows)))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Every whole line, none where there is no file; what a killed writer left of a last one is not among them.

    Raises ValueError that names the line which is damaged or was changed.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(_whole(path), 1):
        try:
            found.append(unseal(line))
        except ValueError as error:
            raise damaged(path, number, str(error)) from None
    return found


def keep(path: Path, count: int) -> None:
    """Cut off what follows the first ``count`` lines."""
    if path.exists() and len(data := b"".join(line + b"\n" for line in _whole(path)[:count])) < path.stat().st_size:
        atomic_write(path, data)


def check_order(path: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises ValueError, naming the line, where what the lines hold is not what ``wanted`` begins with.

    >>> check_order(Path("a.jsonl"), ["one", "three"], ["one", "two", "three"])
    Traceback (most recent call last):
    ValueError: a.jsonl: line 2: holds three where two comes next; restore the file from a copy, or make it anew ...
    """
    for number, one in enumerate(found, 1):
        following = wanted[number - 1] if number <= len(wanted) else "nothing"
        if one == following:
            continue
        twice = one in wanted and found[:number].count(one) > wanted.count(one)
        what = f"holds {one} a second time" if twice else f"holds {one} where {following} comes next"
        raise damaged(path, number, what)


def damaged(path: Path, number: int, what: str) -> ValueError:
    """What is wrong with line ``number`` (from 1), and the two ways out."""
    return ValueError(f"{path}: line {number}: {what}; {REMEDY}")


def _whole(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []
