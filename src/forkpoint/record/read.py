"""Readers of a run: any number at a time, while it is written or after; they take no lock and change nothing."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forkpoint import catalog
from forkpoint.record._attempts import in_view
from forkpoint.record._error import RecordError
from forkpoint.record._header import key_in, read_header, read_status
from forkpoint.record._metrics import Metrics, read_metrics
from forkpoint.record._parts import read_part
from forkpoint.record._rollouts import Rollouts, read_rollouts
from forkpoint.record.schema import HEADER, METRICS

ABOUT_A_LINE = ("kind", "step", "time")


@dataclass(frozen=True)
class Run:
    """A run as it stood when each file was first asked for; open it again to see what came since.

    Where a resumed run went on differently, readings and rollouts are the newest attempt's: it replaces what was
    written past the step it restarted after. ``attempt=`` gives the view that an earlier attempt had.

    Every access raises RecordError, naming file and field, where what it reads is missing or damaged.
    """

    path: Path
    header: dict[str, Any]
    """``run.json``: name, config, method, task, seed, environment, definitions"""

    @property
    def name(self) -> str:
        return self.header["name"]

    @property
    def status(self) -> dict[str, Any]:
        """``state`` (running, done, failed, stopped) with the ``step`` and ``time`` of its writing, read anew.

        A killed process leaves "running".
        """
        return read_status(self.path, key_in(self.header))

    @property
    def steps(self) -> int:
        """Optimizer steps done, by the last train reading; 0 before the first."""
        return max((row["step"] for row in self.metrics("train")), default=0)

    @property
    def attempts(self) -> list[int]:
        """The step after which each later attempt restarted; empty for a run that was never resumed differently."""
        return list(self._metrics.restarts)

    @property
    def torn_lines(self) -> int:
        """Half-written last lines that were left out: at most one of the metrics and one of the rollouts."""
        return self._metrics.torn + self._rollouts.torn

    @property
    def lost_lines(self) -> int:
        """Damaged readings and completions that ``doctor --repair`` has set aside."""
        return self._metrics.lost + self._rollouts.manifest.lost_rows

    @property
    def retired_rows(self) -> int:
        """Oldest completions that retention has dropped."""
        return self._rollouts.manifest.retired_rows

    def metrics(self, kind: str | None = None, *, attempt: int | None = None) -> list[dict[str, Any]]:
        """Readings in order, of one kind or all: ``kind``, ``step``, ``time`` and the values as floats."""
        restarts, found = self._restarts(attempt), self._metrics.readings
        kept = in_view([(number, row["kind"], row["step"]) for number, row in found], restarts)
        return [dict(row) for (_, row), keep in zip(found, kept, strict=True) if keep and kind in (None, row["kind"])]

    def columns(self, kind: str = "train") -> list[str]:
        """Keys that some reading of this kind has, sorted."""
        return sorted({key for row in self.metrics(kind) for key in row} - set(ABOUT_A_LINE))

    def column(self, key: str, kind: str = "train") -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(steps, values) of one key; readings without it are left out, nan is kept.

        Raises RecordError naming the nearest key where no reading has it.
        """
        found = [(row["step"], row[key]) for row in self.metrics(kind) if key in row and key not in ABOUT_A_LINE]
        if not found:
            remedy = catalog.suggest(key, self.columns(kind))
            raise RecordError(f"no {kind} reading has it", file=self.path / METRICS, field=repr(key), remedy=remedy)
        steps, values = zip(*found, strict=True)
        return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)

    def rollouts(
        self, step: int | None = None, kind: str | None = None, *, attempt: int | None = None
    ) -> list[dict[str, Any]]:
        """Recorded completions in order, by step and kind or all, with the columns of ``ROLLOUT_SCHEMA``.

        A column that was not given is None.
        """
        steps = (0, None) if step is None else (step, step)
        return self.table(kind, steps=steps, attempt=attempt).to_pylist()

    def table(
        self, kind: str | None = None, *, steps: tuple[int, int | None] = (0, None), attempt: int | None = None
    ) -> pa.Table:
        """The completions of the steps from first to last (None: all that follow) as an Arrow table, checked.

        DuckDB and polars take it without copying. Only parts that can hold the steps are read.
        """
        kept, first, last = self._rollouts, steps[0], float("inf") if steps[1] is None else steps[1]
        inside = [part for part in kept.manifest.parts if part.first_step <= last and first <= part.last_step]
        parts = [read_part(self.path, key_in(self.header), part) for part in inside]
        table = pa.concat_tables([*parts, kept.recent])
        # the readings after the rows: an attempt's restart is written before its rows, so none is unknown here
        restarts = self._restarts(attempt)
        attempts = [number or 0 for number in table.column("attempt").to_pylist()]
        rows = list(zip(attempts, table.column("kind").to_pylist(), table.column("step").to_pylist(), strict=True))
        view = zip(rows, in_view(rows, restarts), strict=True)
        mask = [keep and first <= s <= last and kind in (None, k) for (_, k, s), keep in view]
        return table.filter(pa.array(mask, pa.bool_()))

    def _restarts(self, attempt: int | None) -> list[int]:
        if self._metrics.damaged:
            raise self._metrics.damaged[0]
        restarts = self._metrics.restarts
        if attempt is not None and not 0 <= attempt <= len(restarts):
            raise ValueError(f"attempt {attempt}; {self.path} has attempts 0 to {len(restarts)}")
        return restarts if attempt is None else restarts[:attempt]

    @cached_property
    def _metrics(self) -> Metrics:
        # the floor first: it is raised after the lines that it counts
        return read_metrics(self.path, key_in(self.header), self.status["lines"])

    @cached_property
    def _rollouts(self) -> Rollouts:
        return read_rollouts(self.path, key_in(self.header), self.status["rows"])


def open_run(path: str | Path) -> Run:
    """The run in a folder. Raises RecordError where there is none, or one that this version cannot read."""
    folder = Path(path)
    if not folder.exists():
        raise RecordError("is missing", file=folder, remedy="give the folder of a run; forkpoint ls lists them")
    if not (folder / HEADER).exists():
        raise RecordError(f"has no {HEADER}", file=folder, remedy="give the folder of a run; forkpoint ls lists them")
    return Run(folder, read_header(folder))


def find_runs(path: str | Path) -> list[Path]:
    """Run folders at ``path`` or directly below it, sorted; none where there is no such folder."""
    folder = Path(path)
    if (folder / HEADER).is_file():
        return [folder]
    return sorted(header.parent for header in folder.glob(f"*/{HEADER}"))
