"""What a run says about itself: ``run.json`` and ``status.json``, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._files import Key
from forkpoint.record._seal import key_of, parse, unseal
from forkpoint.record.schema import HEADER, SCHEMA, STATUS

FIELDS: dict[str, type] = {
    "name": str,
    "run_id": str,
    "created": str,
    "forkpoint": str,
    "config": dict,
    "method": dict,
    "task": str,
    "seed": int,
    "definitions": dict,
    "environment": dict,
}
METHOD_FIELDS: dict[str, type] = {"name": str, "settings": dict, "intervenes": bool}
STATES = ("running", "done", "failed", "stopped")
DEEPEST = 50
"""levels of nesting; code that walks a header may recurse"""
REMEDY = "restore it from a copy of the run"


def read_header(path: Path) -> dict[str, Any]:
    """``run.json``, checked: schema first, since a newer one may be sealed differently."""
    file = path / HEADER
    data = _files.read_bytes(file)
    try:
        _check_schema(file, parse(data).get("schema"))
        header = unseal(data)
    except ValueError as error:
        raise RecordError(str(error), file=file, remedy=REMEDY) from error
    _check_fields(file, header, FIELDS)
    _check_fields(file, header["method"], METHOD_FIELDS, "method.")
    _check_fields(file, header["definitions"], dict.fromkeys(header["definitions"], dict), "definitions.")
    if _depth(header) > DEEPEST:
        raise RecordError(f"is nested deeper than {DEEPEST} levels", file=file, remedy=REMEDY)
    return header


def key_in(header: Mapping[str, Any]) -> Key:
    """What the checksums of the run's other files go on from."""
    return None if header["schema"] < 2 else key_of(header["run_id"])


def read_status(path: Path, key: Key) -> dict[str, Any]:
    """``status.json``: ``lines`` and ``rows`` are how many there were when it was written, and there are no fewer."""
    file = path / STATUS
    status = {"lines": 0, "rows": 0} | _files.read_document(file, key)
    _check_fields(file, status, {"state": str, "step": int, "lines": int, "rows": int})
    if status["state"] not in STATES:
        raise RecordError(f"is not {', '.join(STATES)}", file=file, field="state", remedy=REMEDY)
    if not isinstance(status.get("time"), (int, float)):
        raise RecordError("is not a number", file=file, field="time", remedy=REMEDY)
    return status


def _check_schema(file: Path, schema: Any) -> None:
    if type(schema) is not int or schema < 1:
        raise RecordError("is not a number", file=file, field="schema", remedy="give the folder of a forkpoint run")
    if schema > SCHEMA:
        what = f"is {schema}, and this version reads up to {SCHEMA}"
        raise RecordError(what, file=file, field="schema", remedy="upgrade with pip install -U forkpoint")


def _check_fields(file: Path, record: Mapping[str, Any], fields: Mapping[str, type], above: str = "") -> None:
    for field, kind in fields.items():
        # type, not isinstance: true is an int to Python
        if type(record.get(field)) is not kind:
            raise RecordError(f"is not {kind.__name__}", file=file, field=above + field, remedy=REMEDY)


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion."""
    level, depth = [value], 0
    while level:
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list))]
        level, depth = [item for items in inner for item in items], depth + 1
    return depth
