"""The files of a run as its writer keeps them: where the next line goes, and when rows become a part.

Nothing here forgives: every OSError is raised, and what was on disk before stays readable.
"""

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from forkpoint.record import _files
from forkpoint.record._begin import write_status
from forkpoint.record._error import RecordError
from forkpoint.record._log import Log
from forkpoint.record._parts import Manifest, part_name, read_manifest, write_manifest, write_part
from forkpoint.record._rollouts import tail_line
from forkpoint.record._seal import seal
from forkpoint.record.schema import METRICS, ROLLOUT_SCHEMA, ROLLOUTS, TAIL


class Standing(NamedTuple):
    """What a run holds when a writer takes it up."""

    key: int
    lines: int = 0
    manifest: Manifest = Manifest()
    recent: pa.Table = ROLLOUT_SCHEMA.empty_table()
    """rows in the tail, which no part has yet"""


class Store:
    """Appends to one run."""

    def __init__(self, path: Path, standing: Standing, *, part_every: int, sync: bool, keep: int | None) -> None:
        self.path, self.key, self.lines, self._manifest = path, standing.key, standing.lines, standing.manifest
        self._pending: list[pa.Table] = [standing.recent] if len(standing.recent) else []
        self._number = self._manifest.next_number
        self._part_every, self._keep = part_every, keep
        self._tried, self._stated = -1, 0
        self._written = set[str]()
        self._metrics, self._tail = Log(path / METRICS, sync=sync), Log(path / TAIL, sync=sync)

    @property
    def rows(self) -> int:
        """Completions recorded since the run began."""
        return self._manifest.rows + sum(len(table) for table in self._pending)

    @property
    def retired_step(self) -> int:
        return self._manifest.retired_step

    def add_line(self, line: dict[str, Any]) -> None:
        """Append a line to the metrics and give it its number."""
        self._metrics.append(seal({"n": self.lines, **line}, key=self.key))
        self.lines += 1

    def add_rows(self, table: pa.Table) -> None:
        """Append completions, all or none."""
        # through the table, so that the tail and the part hold the same float32 values
        lines = [tail_line(row, columns) for row, columns in enumerate(table.to_pylist(), self.rows)]
        self._tail.append(b"".join(seal(line, key=self.key) for line in lines))
        self._pending.append(table)

    def is_due(self, table: pa.Table) -> bool:
        """Whether the rows before these should become a part: they belong to other steps of ``part_every``.

        Where that failed, it is tried twice per ``part_every`` steps from then on: each try encodes all that waits.
        """
        return bool(self._pending) and self._window(table) not in (self._window(self._pending[0]), self._tried)

    def is_long_unstated(self, step: int) -> bool:
        """Whether no status was written for ``part_every`` steps: no completions came that would become a part."""
        return step - self._stated > self._part_every

    def commit(self) -> None:
        """Part, manifest, empty tail, in this order: between any two, nothing is lost and nothing counts twice."""
        if not self._pending:
            return
        # a new name even after a failed try: the manifest on disk may name that try's part
        number, self._number = self._number, self._number + 1
        self._tried = self._window(self._pending[-1])
        self._written.add(part_name(number))
        try:
            part = write_part(self.path, number, pa.concat_tables(self._pending))
            longer = self._manifest._replace(parts=(*self._manifest.parts, part))
            kept = longer.within(self._keep)
            write_manifest(self.path, self.key, kept)
        except BaseException:
            # each new try would leave another part; the manifest may name this one, where only a sync failed
            with contextlib.suppress(OSError, RecordError):
                self._clear(read_manifest(self.path, self.key))
            raise
        # readers skip tail rows that the manifest counts, so a crash from here on is harmless
        self._manifest, self._pending = kept, []
        self._written |= {part.file for part in longer.parts}
        try:
            _files.atomic_write(self.path / TAIL, b"")
        finally:
            # the old descriptor may point to a replaced file, where nobody reads
            self._tail.renew()
        self._clear(kept)

    def state(self, state: str, step: int) -> None:
        """Say how the run stands. What the status counts is on disk before it."""
        self._stated = step
        self._metrics.sync()
        self._tail.sync()
        write_status(self.path, self.key, {"state": state, "step": step, "lines": self.lines, "rows": self.rows})

    def close(self) -> None:
        self._metrics.close()
        self._tail.close()

    def _window(self, table: pa.Table) -> int:
        return table.column("step")[0].as_py() // self._part_every

    def _clear(self, manifest: Manifest) -> None:
        """Delete the parts that the manifest does not name, of those that this writer knows."""
        named = {part.file for part in manifest.parts}
        for file in self._written - named:
            # one that stays is no data, and doctor --repair deletes it
            with contextlib.suppress(OSError):
                (self.path / ROLLOUTS / file).unlink()
        self._written &= named
