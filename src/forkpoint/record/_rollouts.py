"""From parts and tail to checked completions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._files import Key
from forkpoint.record._metrics import as_float
from forkpoint.record._parts import Manifest, read_manifest
from forkpoint.record.schema import COLUMNS, FLOAT_COLUMNS, KINDS, MANIFEST, ROLLOUT_SCHEMA, STATUS, TAIL


class Rollouts(NamedTuple):
    """Where the rows are: the committed parts, and the rows after them."""

    manifest: Manifest
    recent: pa.Table
    stale: int
    """rows in the tail that a part has too, as a writer leaves them that died between commit and clean-up"""
    torn: int


def read_rollouts(path: Path, key: Key, floor: int = 0) -> Rollouts:
    """Committed parts and the rows after them, without a gap and without a row twice.

    floor  how many rows the run must have had at least, dropped ones included
    """
    # tail before manifest: the other way round, rows that are committed in between would be in neither
    lines = _files.read_lines(path / TAIL, key)
    manifest = read_manifest(path, key)
    records = [_sound(record) for record in lines.found]
    try:
        stale = _stale(records, manifest)
        table = rows_table(records[stale:])
    except ValueError as error:
        remedy = f"restore it and {MANIFEST} from one copy of the run"
        raise RecordError(str(error), file=path / TAIL, remedy=remedy) from error
    if (total := manifest.rows + len(table)) < floor:
        what = f"ends after row {total} of the run where {STATUS} states {floor}"
        raise RecordError(what, file=path / TAIL, remedy=f"restore it and {MANIFEST} from one copy of the run")
    return Rollouts(manifest, table, stale, lines.torn)


def tail_line(row: int, columns: dict[str, Any]) -> dict[str, Any]:
    """A completion as it waits in the tail; ``row`` counts the run's completions."""
    return {"row": row, **{name: value for name, value in columns.items() if value is not None}}


def rows_table(records: Sequence[dict[str, Any]]) -> pa.Table:
    """Tail rows as a part would give them. Raises ValueError for what no part could hold."""
    try:
        return pa.Table.from_pylist([_columns(record) for record in records], schema=ROLLOUT_SCHEMA)
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise ValueError(str(error).splitlines()[0]) from error


def row_number(record: dict[str, Any]) -> int:
    """Which row of the run it is. Raises ValueError where it does not say."""
    row = record.get("row")
    if type(row) is not int or row < 0:
        raise ValueError("has no row number")
    return row


def _stale(records: Sequence[dict[str, Any]], manifest: Manifest) -> int:
    """How many rows at the front are in a part too; the others go on where the parts end."""
    rows = [row_number(record) for record in records]
    if not rows:
        return 0
    for expected, row in enumerate(rows, rows[0]):
        if row != expected:
            raise ValueError(f"has row {row} where row {expected} of the run comes next")
    ends = [manifest.rows]
    for part in reversed(manifest.parts):
        ends.append(ends[-1] - part.rows)
    # a part took all rows that waited, so the first of them is a part's first, or one that was dropped since
    if rows[0] > ends[0] or (rows[0] not in ends and rows[0] > ends[-1]):
        raise ValueError(f"has row {rows[0]} where row {manifest.rows} of the run comes next")
    return min(len(rows), manifest.rows - rows[0])


def _sound(record: dict[str, Any] | RecordError) -> dict[str, Any]:
    if isinstance(record, RecordError):
        raise record
    return record


def _columns(record: dict[str, Any]) -> dict[str, Any]:
    """Only float columns turn "nan" into nan: a completion may be that word."""
    if record.get("kind") not in KINDS or type(record.get("step")) is not int or record["step"] < 0:
        raise ValueError(f"row {record.get('row')} has no kind or step")
    row = {name: record.get(name) for name in COLUMNS}
    for name in FLOAT_COLUMNS:
        value = row[name]
        row[name] = [_float_or_none(name, v) for v in value] if isinstance(value, list) else _float_or_none(name, value)
    return row


def _float_or_none(name: str, value: Any) -> float | None:
    return None if value is None else as_float(name, value)
