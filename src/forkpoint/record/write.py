"""The one writer of a run."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat

import pyarrow as pa

from forkpoint.record import _files
from forkpoint.record._begin import identity, lay_out, write_status
from forkpoint.record._parts import Part, write_manifest, write_part
from forkpoint.record._seal import seal
from forkpoint.record.schema import KINDS, METRICS, TAIL, rollout_table

FINAL_STATES = ("done", "failed", "stopped")
RESERVED = ("kind", "step", "time", "crc")


class RunWriter:
    """Writes one run; a context manager that records how it ended: done, failed, or stopped (Ctrl-C, SystemExit).

    What a call has returned from survives a killed process, and a power cut too where ``sync`` is left on.

    >>> import tempfile
    >>> from forkpoint.record import open_run
    >>> path = Path(tempfile.mkdtemp()) / "grpo-0"
    >>> grpo = {"name": "grpo", "settings": {}, "intervenes": False}
    >>> with RunWriter.create(path, name="plain", config={}, method=grpo, task="countdown", seed=0,
    ...                       definitions={}) as writer:
    ...     writer.metrics("train", 1, {"reward": 0.5})
    >>> open_run(path).column("reward"), open_run(path).status["state"]
    ((array([1]), array([0.5])), 'done')
    """

    def __init__(self, path: Path, *, part_every: int = 20, sync: bool = True) -> None:
        """For ``create``, which makes the files that this opens."""
        self.path = path
        self._part_every, self._sync = part_every, sync
        self._parts: list[Part] = []
        self._pending: list[pa.Table] = []
        self._tried = 0
        self._last_step: dict[str, int] = dict.fromkeys(KINDS, 0)
        self._metrics = _files.open_for_append(path / METRICS)
        self._tail = _files.open_for_append(path / TAIL)
        self._open = True

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        name: str,
        config: Mapping[str, Any],
        method: Mapping[str, Any],
        task: str,
        seed: int,
        definitions: Mapping[str, Any],
        part_every: int = 20,
        sync: bool = True,
    ) -> "RunWriter":
        """Begin a run in a folder that holds none; other files may be there.

        config       the resolved settings; non-finite numbers are stored as "nan", "inf", "-inf"
        method       ``name``, ``settings`` and ``intervenes``: whether it acts on entropy on purpose
        definitions  metric key -> mapping or dataclass that says what the number means
        part_every   steps per Parquet part, at least 1
        sync         fsync each append; False is faster and may lose the newest rows in a power cut

        Raises RecordError where a run is already there, ValueError for settings that cannot be stored.
        """
        if part_every < 1:
            raise ValueError(f"part_every is {part_every}; give at least 1 step per part")
        if missing := [key for key in ("name", "settings", "intervenes") if key not in method]:
            raise ValueError(f"method lacks {', '.join(missing)}; give name, settings and intervenes")
        about = {"name": name, "config": config, "method": method, "task": task, "seed": seed}
        meanings = {key: _mapping(value) for key, value in definitions.items()}
        header = seal({**identity(), **about, "definitions": meanings}, indent=1)
        lay_out(Path(path), header)
        return cls(Path(path), part_every=part_every, sync=sync)

    def metrics(self, kind: str, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Append one reading. Leave a value out where there is none; nan means "computed, and not a number".

        ``step`` counts optimizer steps done and never goes back within a kind.
        """
        self._check(kind, step)
        line = {"kind": kind, "step": int(step), "time": round(time.time(), 3)}
        line |= {key: _number(key, value, step) for key, value in values.items()}
        _files.append(self._metrics, seal(line), sync=self._sync)
        self._last_step[kind] = step

    def rollouts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append completions, all or none; keys as in ``ROLLOUT_SCHEMA``. Rows of one call share a part."""
        if not self._open:
            raise ValueError(f"{self.path}: the run is closed; create another")
        if not rows:
            return
        table = rollout_table(rows)
        if self._starts_a_part(table):
            self._commit()
        first = sum(part.rows for part in self._parts) + sum(pending.num_rows for pending in self._pending)
        # through the table, so that the tail and the part hold the same float32 values
        lines = [_tail_line(first + i, row) for i, row in enumerate(table.to_pylist())]
        _files.append(self._tail, b"".join(lines), sync=self._sync)
        self._pending.append(table)

    def close(self, state: str = "done") -> None:
        """Commit what is pending and state how the run ended; a second call does nothing."""
        if state not in FINAL_STATES:
            raise ValueError(f"state {state!r}; choose {', '.join(FINAL_STATES)}")
        if not self._open:
            return
        self._open = False
        try:
            self._commit()
            write_status(self.path, state, self._last_step["train"])
        finally:
            os.close(self._metrics)
            os.close(self._tail)

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        stopped = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit))
        self.close("done" if kind is None else "stopped" if stopped else "failed")

    def _check(self, kind: str, step: int) -> None:
        if not self._open:
            raise ValueError(f"{self.path}: the run is closed; create another")
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}; choose {' or '.join(KINDS)}")
        if step < self._last_step[kind]:
            raise ValueError(f"{kind} step {step} comes after step {self._last_step[kind]}; write steps in order")

    def _starts_a_part(self, table: pa.Table) -> bool:
        if not self._pending:
            return False
        first, new = (t.column("step")[0].as_py() // self._part_every for t in (self._pending[0], table))
        return new > first

    def _commit(self) -> None:
        """Part, manifest, empty tail, in this order: between any two, nothing is lost and nothing counts twice."""
        if not self._pending:
            return
        # a new name even after a failed try: the manifest on disk may name that try's part
        self._tried += 1
        parts = [*self._parts, write_part(self.path, self._tried - 1, pa.concat_tables(self._pending))]
        write_manifest(self.path, parts)
        # readers skip tail rows that the manifest counts, so a crash from here on is harmless
        self._parts, self._pending = parts, []
        try:
            _files.atomic_write(self.path / TAIL, b"")
        finally:
            # the old descriptor may point to a replaced file, where nobody reads
            os.close(self._tail)
            self._tail = _files.open_for_append(self.path / TAIL)
        write_status(self.path, "running", self._last_step["train"])


def _number(key: str, value: Any, step: int) -> float:
    if key in RESERVED:
        raise ValueError(f"metric {key!r} at step {step}: the name is taken; rename it")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metric {key!r} at step {step} is {value!r}, not one number; leave it out where absent"
        ) from error


def _mapping(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _tail_line(row: int, columns: Mapping[str, Any]) -> bytes:
    return seal({"row": row, **{name: value for name, value in columns.items() if value is not None}})
