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
from forkpoint.record._files import Key
from forkpoint.record._seal import seal
from forkpoint.record.schema import COLUMNS, FLOAT_COLUMNS, MANIFEST, ROLLOUT_SCHEMA, ROLLOUTS, SCHEMA

NAME = re.compile(r"part-(\d{6})\.parquet")
REMEDY = "restore it from a copy of the run"
COUNTS = {"retired_rows": 0, "retired_step": -1, "lost_rows": 0}
"""what a manifest counts beside its parts -> the least it can be, which is also what an older manifest means"""


class Part(NamedTuple):
    """A part as its manifest states it."""

    file: str
    bytes: int
    sha256: str
    rows: int
    first_step: int
    last_step: int


class Manifest(NamedTuple):
    """The parts that count, and what retention has dropped before them."""

    parts: tuple[Part, ...] = ()
    retired_rows: int = 0
    retired_step: int = -1
    """last step of which rows were dropped"""
    lost_rows: int = 0
    """rows that ``doctor --repair`` has set aside"""

    @property
    def rows(self) -> int:
        """Rows committed since the run began, dropped and lost ones included."""
        return self.retired_rows + self.lost_rows + sum(part.rows for part in self.parts)

    @property
    def next_number(self) -> int:
        """A number that no part of this run has had; retention always leaves a part to count from."""
        return int(self.parts[-1].file[5:11]) + 1 if self.parts else 0

    def within(self, keep: int | None) -> "Manifest":
        """The newest parts that fit into ``keep`` bytes, at least one."""
        parts, retired = self.parts, self
        while keep is not None and len(parts) > 1 and sum(part.bytes for part in parts) > keep:
            oldest, *rest = parts
            parts = tuple(rest)
            last = max(retired.retired_step, oldest.last_step)
            retired = self._replace(parts=parts, retired_rows=retired.retired_rows + oldest.rows, retired_step=last)
        return retired


def part_name(number: int) -> str:
    return f"part-{number:06d}.parquet"


def write_part(run: Path, number: int, table: pa.Table) -> Part:
    """Write a part whole. It does not count before ``write_manifest`` names it."""
    data = _encode(table)
    steps: list[int] = table.column("step").to_pylist()
    name = part_name(number)
    _files.atomic_write(run / ROLLOUTS / name, data)
    return Part(name, len(data), hashlib.sha256(data).hexdigest(), len(steps), min(steps), max(steps))


def read_part(run: Path, key: Key, part: Part) -> pa.Table:
    """A part's rows, after its size, sha256 and page checksums were checked on the very bytes that are parsed."""
    path = run / ROLLOUTS / part.file
    try:
        data = _files.read_bytes(path)
    except RecordError:
        if part in read_manifest(run, key).parts:
            raise
        what = "was retired while it was read"
        raise RecordError(what, file=path, remedy="open the run again to read what it keeps") from None
    if len(data) != part.bytes:
        raise _damage(path, f"has {len(data)} bytes where {MANIFEST} states {part.bytes}")
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise _damage(path, f"sha256 differs from {MANIFEST}")
    return _decoded(path, part, data)


def write_manifest(run: Path, key: Key, manifest: Manifest) -> None:
    """The commit: from here on these parts are the run's."""
    listed = [part._asdict() for part in manifest.parts]
    record = {"schema": SCHEMA, **{name: getattr(manifest, name) for name in COUNTS}, "parts": listed}
    _files.atomic_write(run / MANIFEST, seal(record, key=key or 0, indent=1))


def read_manifest(run: Path, key: Key) -> Manifest:
    """The committed parts, in order."""
    path = run / MANIFEST
    record = _files.read_document(path, key)
    listed, counts = record.get("parts"), {name: record.get(name, least) for name, least in COUNTS.items()}
    if not isinstance(listed, list):
        raise RecordError("is not a list", file=path, field="parts", remedy=REMEDY)
    for name, count in counts.items():
        if type(count) is not int or count < COUNTS[name]:
            raise RecordError("is not a count", file=path, field=name, remedy=REMEDY)
    parts = tuple(_part(path, number, entry) for number, entry in enumerate(listed))
    if [part.file for part in parts] != sorted({part.file for part in parts}):
        raise RecordError("does not name each part once, in order", file=path, field="parts", remedy=REMEDY)
    return Manifest(parts, **counts)


def _part(path: Path, number: int, entry: Any) -> Part:
    wanted = Part.__annotations__
    fits = isinstance(entry, Mapping) and all(type(entry.get(name)) is kind for name, kind in wanted.items())
    # the name becomes a path: nothing but our own pattern may reach the file system
    if not fits or not NAME.fullmatch(entry["file"]):
        raise RecordError("is not a part's entry", file=path, field=f"parts[{number}]", remedy=REMEDY)
    return Part(**{name: entry[name] for name in wanted})


def _encode(table: pa.Table) -> bytes:
    words = [_leaf(name) for name in COLUMNS if name not in FLOAT_COLUMNS]
    floats = [_leaf(name) for name in FLOAT_COLUMNS]
    sink = pa.BufferOutputStream()
    pq.write_table(
        # in one chunk: the same rows are the same bytes, however many calls they came in
        table.combine_chunks(),
        sink,
        compression="zstd",
        use_dictionary=words,  # type: ignore[arg-type]  # the stub knows only bool
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        # without it a flipped byte is read back as a wrong number, by other readers too
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def _decoded(path: Path, part: Part, data: bytes) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if file.metadata.num_rows != part.rows:
            raise _damage(path, f"has {file.metadata.num_rows} rows where {MANIFEST} states {part.rows}")
        table = _conformed(file.read())
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise _damage(path, f"is not readable Parquet ({type(error).__name__})") from error
    steps = table.column("step").to_pylist()
    if not steps or None in steps or (min(steps), max(steps)) != (part.first_step, part.last_step):
        raise _damage(path, f"does not hold the steps that {MANIFEST} states")
    return table


def _conformed(table: pa.Table) -> pa.Table:
    """With today's columns in their order; one that the part's version did not have is null."""
    absent = {field.name: pa.nulls(len(table), field.type) for field in ROLLOUT_SCHEMA}
    present = {name: table.column(name) for name in table.column_names}
    columns = [(absent | present)[field.name].cast(field.type) for field in ROLLOUT_SCHEMA]
    return pa.table(columns, schema=ROLLOUT_SCHEMA)


def _leaf(name: str) -> str:
    return f"{name}.list.element" if pa.types.is_list(COLUMNS[name][0]) else name


def _damage(path: Path, what: str) -> RecordError:
    return RecordError(what, file=path, remedy="restore the part from a copy of the run")
