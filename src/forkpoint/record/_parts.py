"""Parts of the rollouts: immutable Parquet files, named by the manifest with their size and sha256."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._seal import seal
from forkpoint.record.schema import COLUMNS, FLOAT_COLUMNS, MANIFEST, ROLLOUTS, SCHEMA

NAME = re.compile(r"part-\d{6}\.parquet")


class Part(NamedTuple):
    """A part as its manifest states it."""

    file: str
    bytes: int
    sha256: str
    rows: int
    first_step: int
    last_step: int


def write_part(run: Path, number: int, table: pa.Table) -> Part:
    """Write a part whole. It does not count before ``write_manifest`` names it."""
    data = _encode(table)
    steps: list[int] = table.column("step").to_pylist()
    name = f"part-{number:06d}.parquet"
    _files.atomic_write(run / ROLLOUTS / name, data)
    return Part(name, len(data), hashlib.sha256(data).hexdigest(), len(steps), min(steps), max(steps))


def read_part(run: Path, part: Part) -> list[dict[str, Any]]:
    """A part's rows, after its size, sha256 and page checksums were checked on the very bytes that are parsed."""
    path = run / ROLLOUTS / part.file
    data = _files.read_bytes(path)
    if len(data) != part.bytes:
        raise _damage(path, f"has {len(data)} bytes where {MANIFEST} states {part.bytes}")
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise _damage(path, f"sha256 differs from {MANIFEST}")
    try:
        rows = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read().to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damage(path, f"is not readable Parquet ({type(error).__name__})") from error
    if len(rows) != part.rows:
        raise _damage(path, f"has {len(rows)} rows where {MANIFEST} states {part.rows}")
    return [{name: row.get(name) for name in COLUMNS} for row in rows]


def write_manifest(run: Path, parts: list[Part]) -> None:
    """The commit: from here on these parts are the run's."""
    record = {"schema": SCHEMA, "parts": [part._asdict() for part in parts]}
    _files.atomic_write(run / MANIFEST, seal(record, indent=1))


def read_manifest(run: Path) -> list[Part]:
    """The committed parts, in order."""
    path = run / MANIFEST
    listed = _files.read_document(path).get("parts")
    if not isinstance(listed, list):
        raise RecordError("is not a list", file=path, field="parts", remedy="restore it from a copy of the run")
    return [_part(path, number, entry) for number, entry in enumerate(listed)]


def _part(path: Path, number: int, entry: Any) -> Part:
    wanted = Part.__annotations__
    fits = isinstance(entry, Mapping) and all(type(entry.get(name)) is kind for name, kind in wanted.items())
    # the name becomes a path: nothing but our own pattern may reach the file system
    if not fits or not NAME.fullmatch(entry["file"]):
        remedy = "restore it from a copy of the run"
        raise RecordError("is not a part's entry", file=path, field=f"parts[{number}]", remedy=remedy)
    return Part(**{name: entry[name] for name in wanted})


def _encode(table: pa.Table) -> bytes:
    words = [_leaf(name) for name in COLUMNS if name not in FLOAT_COLUMNS]
    floats = [_leaf(name) for name in FLOAT_COLUMNS]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=words,  # type: ignore[arg-type]  # the stub knows only bool
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        # without it a flipped byte is read back as a wrong number, by other readers too
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def _leaf(name: str) -> str:
    return f"{name}.list.element" if pa.types.is_list(COLUMNS[name][0]) else name


def _damage(path: Path, what: str) -> RecordError:
    return RecordError(what, file=path, remedy="restore the part from a copy of the run")
