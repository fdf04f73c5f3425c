"""Readers of a run: any number at a time, while it is written or after; they take no lock and change nothing."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forkpoint import catalog
from forkpoint.record import _files
from forkpoint.record._decode import Rollouts, read_header, read_metrics, read_rollouts
from forkpoint.record._error import RecordError
from forkpoint.record._parts import read_part
from forkpoint.record.schema import HEADER, METRICS, STATUS

ABOUT_A_LINE = ("kind", "step", "time")


@dataclass(frozen=True)
class Run:
    """A run as it stood when each file was first asked for; open it again to see what came since.

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
        return _files.read_document(self.path / STATUS)

    @property
    def steps(self) -> int:
        """Optimizer steps done, by the last train reading; 0 before the first."""
        return max((row["step"] for row in self.metrics("train")), default=0)

    @property
    def torn_lines(self) -> int:
        """Half-written last lines that were left out: at most one of the metrics and one of the rollouts."""
        return self._lines.torn + self._rollouts.torn

    def metrics(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Readings in order, of one kind or all: ``kind``, ``step``, ``time`` and the values as floats."""
        if self._lines.damaged:
            raise self._lines.damaged[0]
        return [dict(row) for row in self._lines.records if kind in (None, row["kind"])]

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

    def rollouts(self, step: int | None = None, kind: str | None = None) -> list[dict[str, Any]]:
        """Recorded completions in order, by step and kind or all, with the columns of ``ROLLOUT_SCHEMA``.

        A column that was not given is None. Only parts that can hold the step are read.
        """
        kept = self._rollouts
        inside = [part for part in kept.parts if step is None or part.first_step <= step <= part.last_step]
        rows = [row for part in inside for row in read_part(self.path, part)] + [dict(row) for row in kept.recent]
        return [row for row in rows if step in (None, row["step"]) and kind in (None, row["kind"])]

    @cached_property
    def _lines(self) -> _files.Lines:
        return read_metrics(self.path)

    @cached_property
    def _rollouts(self) -> Rollouts:
        return read_rollouts(self.path)


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
