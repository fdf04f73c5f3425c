"""Columns of runs as the page reads them: who recorded what, where it starts and ends, and what it means."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forkpoint.record.read import Run
from forkpoint.report._section import Table
from forkpoint.report._text import listed, shorten

MOST_POINTS = 400
"""longer columns are thinned to about this many points, in the figure and in its table alike"""


LONGEST_NAME = 60
FIELDS = {"temperature": "temperature", "token_set": "over", "unit": "in"}


@dataclass(frozen=True)
class Series:
    """One column of one run."""

    arm: int
    name: str
    key: str
    steps: Sequence[int]
    values: Sequence[float]

    @property
    def finite(self) -> list[tuple[int, float]]:
        return [(step, value) for step, value in zip(self.steps, self.values, strict=True) if math.isfinite(value)]

    @property
    def first(self) -> float:
        return self.finite[0][1]

    @property
    def last(self) -> float:
        return self.finite[-1][1]

    def thinned(self) -> "Series":
        """Every n-th point and the last one.

        >>> Series(0, "a", "k", range(1000), [0.0] * 1000).thinned().steps[:3]
        [0, 3, 6]
        """
        stride = math.ceil(len(self.steps) / MOST_POINTS)
        if stride <= 1:
            return self
        kept = sorted({*range(0, len(self.steps), stride), len(self.steps) - 1})
        return Series(self.arm, self.name, self.key, [self.steps[i] for i in kept], [self.values[i] for i in kept])


def changes(found: Sequence[Series], form: Callable[[float], str], unit: str = "") -> str:
    """Where each series began and ended; the verb is said again only where it changes.

    >>> ends = [Series(0, "plain", "k", [0, 1], [0.4, 0.6]), Series(1, "managed", "k", [0, 1], [0.4, 0.5])]
    >>> changes(ends, lambda value: f"{value:.0%}")
    'rose from 40% to 60% with plain and from 40% to 50% with managed'
    """
    clauses: list[str] = []
    before = ""
    for one in found:
        start, end = form(one.first), form(one.last)
        verb = "stayed" if start == end else "rose" if one.last > one.first else "fell"
        path = f"at {end}{unit}" if verb == "stayed" else f"from {start} to {end}{unit}"
        clauses.append(f"{'' if verb == before else verb + ' '}{path} with {one.name}")
        before = verb
    return listed(clauses)


def arm_names(runs: Sequence[Run]) -> list[str]:
    """The runs' names, shortened where they would flood the page and numbered where two are the same."""
    seen: dict[str, int] = {}
    names: list[str] = []
    for run in runs:
        name = shorten(run.name, LONGEST_NAME)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def series(runs: Sequence[Run], key: str, kind: str) -> list[Series]:
    """The column of each run that has at least one finite value in it."""
    found: list[Series] = []
    for arm, (run, name) in enumerate(zip(runs, arm_names(runs), strict=True)):
        if key in run.columns(kind):
            steps, values = run.column(key, kind)
            one = Series(arm, name, key, [int(step) for step in steps], [float(value) for value in values])
            found += [one] if one.finite else []
    return found


def either(runs: Sequence[Run], key: str) -> tuple[str, list[Series]]:
    """The column from the evaluations, or where no run has it there, from the training steps."""
    return next(
        (("eval", found) for found in [series(runs, key, "eval")] if found), ("train", series(runs, key, "train"))
    )


def columns(runs: Sequence[Run], kind: str, prefix: str) -> list[str]:
    """Every column of any run that starts with ``prefix``, in the order they were first recorded."""
    return list(dict.fromkeys(key for run in runs for key in run.columns(kind) if key.startswith(prefix)))


def definitions(runs: Sequence[Run], *keys: str) -> list[tuple[str, str]]:
    """(columns, what they are), from the runs' own headers; columns that mean the same share a line."""
    told: dict[str, list[str]] = {}
    for key in keys:
        by_text: dict[str, list[str]] = {}
        for run, name in zip(runs, arm_names(runs), strict=True):
            if key in run.columns("eval") or key in run.columns("train"):
                by_text.setdefault(definition(run, key), []).append(name)
        for text, names in by_text.items():
            told.setdefault(text, []).append(key if len(by_text) == 1 else f"{key} ({', '.join(names)})")
    return [(", ".join(dict.fromkeys(names)), text) for text, names in told.items()]


def definition(run: Run, key: str) -> str:
    """Estimator, reduction, temperature, token set and unit of one column, as the run recorded them."""
    known = run.header.get("definitions") or {}
    # a column split by role, "entropy/full/fork", is defined by the longest recorded key that it extends
    parents = ["/".join(key.split("/")[:size]) for size in range(key.count("/") + 1, 0, -1)]
    parent = next((parent for parent in parents if parent in known), None)
    if parent is None:
        return "the run holds no definition of this column"
    found = known[parent]
    told = [found.get(field) for field in ("estimator", "reduction")]
    told += [f"{word} {found[field]}" for field, word in FIELDS.items() if found.get(field)]
    return "; ".join(filter(None, [*told, "split by the last part of its name" if parent != key else ""]))


def step_table(found: Sequence[Series], labels: Sequence[str] | None = None, digits: int = 4) -> Table:
    """One row per step, one column per series: the numbers that a figure draws."""
    thinned = [one.thinned() for one in found]
    by_step = [dict(zip(one.steps, one.values, strict=True)) for one in thinned]
    steps = sorted({step for values in by_step for step in values})
    rows = [[str(step), *(_cell(values.get(step), digits) for values in by_step)] for step in steps]
    return Table(["step", *(labels or [one.name for one in found])], rows)


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def remarks(runs: Sequence[Run], found: Sequence[Series]) -> list[str]:
    """What a reader could not see in the lines: values that are not finite, and points left out."""
    notes: list[str] = []
    for one in found:
        gaps = len(one.values) - len(one.finite)
        if gaps:
            notes.append(f"{one.name}: {gaps} of {len(one.values)} values of {one.key} are not finite and leave a gap.")
        if len(one.values) > MOST_POINTS:
            notes.append(f"{one.name}: {one.key} is thinned to {len(one.thinned().steps)} of {len(one.values)} points.")
    present = {one.key: {other.arm for other in found if other.key == one.key} for one in found}
    lacking: dict[str, list[str]] = {}
    for key, arms in present.items():
        for name in [name for arm, name in enumerate(arm_names(runs)) if arm not in arms]:
            lacking.setdefault(name, []).append(key)
    notes += [f"{name} did not record {listed(keys)}." for name, keys in lacking.items()]
    return notes
