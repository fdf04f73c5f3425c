"""Everything that is wrong with a run on disk, found without stopping at the first."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from forkpoint.record import _files
from forkpoint.record._decode import read_metrics, read_rollouts
from forkpoint.record._error import RecordError
from forkpoint.record._parts import read_manifest, read_part
from forkpoint.record.read import open_run
from forkpoint.record.schema import MANIFEST, METRICS, ROLLOUTS, STATUS, TAIL


class Problem(NamedTuple):
    """One thing wrong, where, and what to do."""

    file: str
    field: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return str(RecordError(self.what, file=self.file, field=self.field, remedy=self.remedy))


def check(path: str | Path) -> list[Problem]:
    """What a reader of the run would stumble over, and what a killed writer left behind; empty for a sound run.

    >>> [problem.what for problem in check("no/such/run")]
    ['is missing']
    """
    # once each: a damaged manifest shows in the tail's look-up and in the parts'
    return list(dict.fromkeys(Problem(e.file, e.field, e.what, e.remedy) for e in _problems(Path(path))))


def _problems(path: Path) -> Iterator[RecordError]:
    try:
        open_run(path)
    except RecordError as error:
        yield error
        # without a header nothing says that the other files are a run's
        if not (path / METRICS).exists():
            return
    for look in (_status, _metrics, _tail, _parts):
        try:
            yield from look(path)
        except RecordError as error:
            yield error


def _status(path: Path) -> Iterator[RecordError]:
    _files.read_document(path / STATUS)
    yield from ()


def _metrics(path: Path) -> Iterator[RecordError]:
    lines = read_metrics(path)
    yield from lines.damaged
    yield from _torn(path / METRICS, lines)


def _tail(path: Path) -> Iterator[RecordError]:
    lines = _files.read_lines(path / TAIL)
    yield from lines.damaged
    yield from _torn(path / TAIL, lines)
    if not lines.damaged:
        read_rollouts(path)


def _parts(path: Path) -> Iterator[RecordError]:
    parts = read_manifest(path)
    for part in parts:
        try:
            read_part(path, part)
        except RecordError as error:
            yield error
    stated = {part.file for part in parts}
    for file in sorted((path / ROLLOUTS).glob("part-*.parquet")):
        if file.name not in stated:
            remedy = f"none needed: its rows are in {TAIL}, and the file can be deleted"
            yield RecordError(f"is not in {MANIFEST}", file=file, remedy=remedy)


def _torn(file: Path, lines: _files.Lines) -> Iterator[RecordError]:
    if lines.torn:
        remedy = "none needed: a killed writer leaves half a line, and readers skip it"
        yield RecordError("is half written", file=file, field="last line", remedy=remedy)
