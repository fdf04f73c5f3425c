"""From files to checked values: the header, the readings, and where the completions are."""

from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._parts import Part, read_manifest
from forkpoint.record._seal import NON_FINITE, parse, unseal
from forkpoint.record.schema import COLUMNS, FLOAT_COLUMNS, HEADER, MANIFEST, METRICS, SCHEMA, TAIL

HEADER_FIELDS = {
    "name": str,
    "config": dict,
    "method": dict,
    "task": str,
    "seed": int,
    "definitions": dict,
    "environment": dict,
}


class Rollouts(NamedTuple):
    """Where the rows are: the committed parts, and the rows after them."""

    parts: list[Part]
    recent: list[dict[str, Any]]
    torn: int


def read_header(path: Path) -> dict[str, Any]:
    """``run.json``, checked: schema first, since a newer one may be sealed differently."""
    file = path / HEADER
    data = _files.read_bytes(file)
    try:
        schema = parse(data).get("schema")
        _check_schema(file, schema)
        header = unseal(data)
    except ValueError as error:
        raise RecordError(str(error), file=file, remedy="restore it from a copy of the run") from error
    for field, kind in HEADER_FIELDS.items():
        if not isinstance(header.get(field), kind):
            what = f"is not {kind.__name__}"
            raise RecordError(what, file=file, field=field, remedy="restore it from a copy of the run")
    return header


def read_metrics(path: Path) -> _files.Lines:
    """The metrics file, with damaged lines set apart."""
    file = path / METRICS
    lines = _files.read_lines(file)
    records, damaged = [], lines.damaged
    for number, record in enumerate(lines.records, 1):
        try:
            records.append(_reading(record))
        except ValueError as error:
            remedy = "restore the file from a copy of the run"
            damaged.append(RecordError(str(error), file=file, field=f"reading {number}", remedy=remedy))
    return _files.Lines(records, damaged, lines.torn)


def read_rollouts(path: Path) -> Rollouts:
    """Committed parts and the rows after them, without a gap and without a row twice."""
    # tail before manifest: the other way round, rows that are committed in between would be in neither
    lines = _files.read_lines(path / TAIL)
    parts = read_manifest(path)
    if lines.damaged:
        raise lines.damaged[0]
    committed = sum(part.rows for part in parts)
    recent = [row for row in lines.records if not _committed(row, committed)]
    try:
        rows = [_rollout(row, number) for number, row in enumerate(recent, committed)]
    except ValueError as error:
        remedy = f"restore it and {MANIFEST} from one copy of the run"
        raise RecordError(str(error), file=path / TAIL, remedy=remedy) from error
    return Rollouts(parts, rows, lines.torn)


def _check_schema(file: Path, schema: Any) -> None:
    if not isinstance(schema, int):
        raise RecordError("is not a number", file=file, field="schema", remedy="give the folder of a forkpoint run")
    if schema > SCHEMA:
        what = f"is {schema}, and this version reads up to {SCHEMA}"
        raise RecordError(what, file=file, field="schema", remedy="upgrade with pip install -U forkpoint")


def _reading(record: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(record.get("kind"), str) or not isinstance(record.get("step"), int):
        raise ValueError("has no kind or step")
    return {key: value if key in ("kind", "step") else _float(key, value) for key, value in record.items()}


def _committed(record: dict[str, Any], rows: int) -> bool:
    return isinstance(record.get("row"), int) and record["row"] < rows


def _rollout(record: dict[str, Any], number: int) -> dict[str, Any]:
    """A tail row as a part would give it. Only float columns turn "nan" into nan: a completion may be that word."""
    if record.get("row") != number:
        raise ValueError(f"has row {record.get('row')} where row {number} of the run comes next")
    row = {name: record.get(name) for name in COLUMNS}
    for name in FLOAT_COLUMNS:
        value = row[name]
        row[name] = [_float_or_none(name, v) for v in value] if isinstance(value, list) else _float_or_none(name, value)
    return row


def _float_or_none(key: str, value: Any) -> float | None:
    return None if value is None else _float(key, value)


def _float(key: str, value: Any) -> float:
    if isinstance(value, str) and value in NON_FINITE:
        return NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} is not a number")
    return float(value)
