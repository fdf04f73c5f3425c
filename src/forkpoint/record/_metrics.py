"""From ``metrics.jsonl`` to checked readings, and which attempt each belongs to.

Beside readings the file holds two other kinds of line. ``attempt``: a resumed run went on differently after ``step``,
and from here on its readings replace what was written past that step. ``lost``: ``doctor --repair`` set aside ``lines``
damaged lines that stood here. Every line has a running number ``n``, so that none can vanish or change place unnoticed.
"""

from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._files import Key
from forkpoint.record._seal import NON_FINITE
from forkpoint.record.schema import KINDS, METRICS, STATUS

MOST_STEPS = 2**31
TEXT = ("kind", "step")
OURS = ("n", "attempt")
"""members of a line that are no values of the reading"""


class Metrics(NamedTuple):
    """What the file holds."""

    readings: list[tuple[int, dict[str, Any]]]
    """(attempt, reading) in order"""
    restarts: list[int]
    """the step after which attempt 1, 2, ... starts"""
    lines: int
    lost: int
    damaged: list[RecordError]
    torn: int


def read_metrics(path: Path, key: Key, floor: int = 0) -> Metrics:
    """The metrics file, with damaged lines set apart; ``floor`` is how many lines there must be at least."""
    file = path / METRICS
    return parse_metrics(file, _files.read_bytes(file), key, floor)


def parse_metrics(file: Path, data: bytes, key: Key, floor: int = 0) -> Metrics:
    """The same of bytes that may not be in the file yet."""
    lines, taken, damaged = _files.split_lines(file, data, key), _Taken(numbered=key is not None), list[RecordError]()
    for number, record in enumerate(lines.found, 1):
        try:
            taken.add(record)
        except ValueError as error:
            damaged.append(_files.damaged_line(file, number, str(error)))
        except RecordError as error:
            damaged.append(error)
    if taken.lines < floor:
        what = f"ends after {taken.lines} lines where {STATUS} states {floor}"
        damaged.append(RecordError(what, file=file, remedy="restore the file from a copy of the run"))
    return Metrics(taken.readings, taken.restarts, taken.lines, taken.lost, damaged, lines.torn)


class _Taken:
    """The lines so far."""

    def __init__(self, *, numbered: bool) -> None:
        self.readings: list[tuple[int, dict[str, Any]]] = []
        self.restarts: list[int] = []
        self.lines = self.lost = 0
        self._numbered = numbered

    def add(self, record: dict[str, Any] | RecordError) -> None:
        if isinstance(record, RecordError):
            self.lines += 1
            raise record
        self._check_number(record)
        kind = record.get("kind")
        if kind == "attempt":
            self.restarts.append(_restart(record, len(self.restarts) + 1))
        elif kind == "lost":
            lost = _whole(record, "lines", 1)
            self.lost += lost
            self.lines += lost - 1
        else:
            self.readings.append((self._attempt(record), _reading(record)))

    def _check_number(self, record: dict[str, Any]) -> None:
        expected, self.lines = self.lines, self.lines + 1
        if not self._numbered:
            return
        found = _whole(record, "n", 0)
        self.lines = found + 1
        if found != expected:
            raise ValueError(f"is number {found} where number {expected} comes next")

    def _attempt(self, record: dict[str, Any]) -> int:
        attempt = record.get("attempt", 0)
        if attempt != len(self.restarts):
            raise ValueError(f"belongs to attempt {attempt}, and attempt {len(self.restarts)} was begun last")
        return len(self.restarts)


def _reading(record: dict[str, Any]) -> dict[str, Any]:
    if record.get("kind") not in KINDS:
        raise ValueError(f"kind is not {' or '.join(KINDS)}")
    _whole(record, "step", 0)
    return {name: v if name in TEXT else as_float(name, v) for name, v in record.items() if name not in OURS}


def _restart(record: dict[str, Any], attempt: int) -> int:
    if record.get("attempt") != attempt:
        raise ValueError(f"begins attempt {record.get('attempt')} where attempt {attempt} comes next")
    return _whole(record, "step", 0)


def _whole(record: dict[str, Any], name: str, least: int) -> int:
    value = record.get(name)
    # type, not isinstance: true is an int to Python
    if type(value) is not int or not least <= value < MOST_STEPS:
        raise ValueError(f"{name} is not a whole number from {least}")
    return value


def as_float(name: str, value: Any) -> float:
    """A number as it was stored. Raises ValueError for anything else."""
    if isinstance(value, str) and value in NON_FINITE:
        return NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is not a number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name} is an integer that no float can hold") from error
