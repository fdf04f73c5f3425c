"""Everything that is wrong with a run on disk, found without stopping at the first."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from forkpoint.record._error import RecordError
from forkpoint.record._files import Key
from forkpoint.record._header import key_in, read_status
from forkpoint.record._leftovers import temporaries, unlisted
from forkpoint.record._metrics import read_metrics
from forkpoint.record._parts import read_manifest, read_part
from forkpoint.record._rollouts import read_rollouts
from forkpoint.record.read import open_run
from forkpoint.record.schema import MANIFEST, METRICS, TAIL


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

    Without its header a run cannot be checked further: the other files are bound to what stands in it.

    >>> [problem.what for problem in check("no/such/run")]
    ['is missing']
    """
    # once each: a damaged manifest shows in the tail's look-up and in the parts'
    return list(dict.fromkeys(Problem(e.file, e.field, e.what, e.remedy) for e in _problems(Path(path))))


def _problems(path: Path) -> Iterator[RecordError]:
    try:
        key = key_in(open_run(path).header)
    except RecordError as error:
        yield error
        return
    floor = {"lines": 0, "rows": 0}
    try:
        floor = read_status(path, key)
    except RecordError as error:
        yield error
    looks: list[Callable[[], Iterator[RecordError]]] = [
        lambda: _metrics(path, key, floor["lines"]),
        lambda: _tail(path, key, floor["rows"]),
        lambda: _parts(path, key),
    ]
    for look in looks:
        try:
            yield from look()
        except RecordError as error:
            yield error


def _metrics(path: Path, key: Key, floor: int) -> Iterator[RecordError]:
    found = read_metrics(path, key, floor)
    yield from found.damaged
    yield from _torn(path / METRICS, found.torn)


def _tail(path: Path, key: Key, floor: int) -> Iterator[RecordError]:
    yield from _torn(path / TAIL, read_rollouts(path, key, floor).torn)


def _parts(path: Path, key: Key) -> Iterator[RecordError]:
    for file in temporaries(path):
        yield RecordError("was never finished", file=file, remedy="delete it with forkpoint doctor RUN --repair")
    manifest = read_manifest(path, key)
    for part in manifest.parts:
        try:
            read_part(path, key, part)
        except RecordError as error:
            yield error
    for file in unlisted(path, manifest):
        yield RecordError(f"is not in {MANIFEST}", file=file, remedy="clear it with forkpoint doctor RUN --repair")


def _torn(file: Path, torn: int) -> Iterator[RecordError]:
    if torn:
        remedy = "none needed: a killed writer leaves half a line, and readers skip it"
        yield RecordError("is half written", file=file, field="last line", remedy=remedy)
