"""Gates: conditions on a run's last values that turn into an exit code, for CI (``--fail-if "entropy/full<0.05"``)."""

import math
import operator
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from forkpoint import catalog

OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
FORM = re.compile(r"\s*([^<>=]+?)\s*(<=|>=|<|>)\s*(\S+)(?:\s+for\s+(\d+))?\s*")
NEVER_RAISED = "alarm/"
"""columns that exist only where something happened: a run that defines one and lacks it passes"""


class Gate(NamedTuple):
    """Fails when each of the last ``patience`` values compares true with the limit."""

    key: str
    relation: str
    limit: float
    patience: int = 1

    def fails(self, value: float) -> bool:
        """Whether ``value`` trips the gate.

        >>> Gate("entropy/full", "<", 0.05).fails(0.03), Gate("entropy/full", "<", 0.05).fails(0.05)
        (True, False)
        """
        # nan compares false with everything, so a broken run would pass every gate: it trips them all instead
        return math.isnan(value) or bool(OPERATORS[self.relation](value, self.limit))

    def trips(self, values: Sequence[float]) -> bool:
        """Whether the last ``patience`` of them all fail; fewer values than that trip nothing.

        >>> [Gate("x", "<", 1.0, 2).trips(values) for values in ([5.0, 0.0, 0.0], [0.0, 5.0], [0.0])]
        [True, False, False]
        """
        return len(values) >= self.patience and all(self.fails(float(v)) for v in values[-self.patience :])

    def __str__(self) -> str:
        return f"{self.key}{self.relation}{self.limit:g}" + (f" for {self.patience}" if self.patience > 1 else "")


def parse(text: str) -> Gate:
    """``KEY<VALUE`` with one of < <= > >=, then perhaps ``for N``; spaces allowed, keys may hold any other character.

    Raises ValueError that shows the form.

    >>> parse("pass@8 >= 0.9")
    Gate(key='pass@8', relation='>=', limit=0.9, patience=1)
    >>> parse("guard/changed_share<=0 for 10").patience
    10
    """
    found = FORM.fullmatch(text)
    try:
        gate = Gate(found[1], found[2], float(found[3]), int(found[4] or 1)) if found else None
    except ValueError:
        gate = None
    if gate is None or math.isnan(gate.limit) or gate.patience < 1:
        raise ValueError(
            f'--fail-if {text!r} is not KEY<NUMBER; write it like "entropy/full<0.05" with < <= > or >=, '
            'or "entropy/full<0.05 for 10" for its last ten values'
        )
    return gate


def check_spelling(asked: Sequence[Gate], known: Sequence[str]) -> None:
    """ValueError for a key that is nearly one of the ``known`` columns, and neither it nor that of a role.

    Other keys pass: what a run will count, such as formats and pass@k, is known when it is done.

    >>> check_spelling([parse("guard/changed_share<=0"), parse("format/odd>0.5")], ["guard/changed_share"])
    >>> check_spelling([parse("guard/chnaged_share<=0")], ["guard/changed_share"])
    Traceback (most recent call last):
    ValueError: --fail-if guard/chnaged_share<=0: no column 'guard/chnaged_share'; did you mean 'guard/changed_share'?
    """
    for gate in asked:
        if any(gate.key == key or gate.key.startswith(f"{key}/") for key in known):
            continue
        for near in get_close_matches(gate.key, known, n=1, cutoff=0.9):
            raise ValueError(f"--fail-if {gate}: no column {gate.key!r}; did you mean {near!r}?")


def tripped(gate: Gate, run: Any) -> str:
    """What tripped ``gate`` at the run's last values, in words; empty where nothing did.

    Training steps are looked at first, evaluations where only they have the column. ValueError names the nearest
    column where neither has it.
    """
    kind, steps, values = _column(gate, run)
    told = f"{gate}: {gate.key} is {values[-1]:g} at {kind} step {steps[-1]}" if values else ""
    return told if gate.trips(values) else ""


def unjudged(gate: Gate, run: Any) -> str:
    """That the run has fewer values than ``gate`` looks at, in words; empty where it has enough."""
    _, _, values = _column(gate, run)
    few = len(values) < gate.patience and not gate.key.startswith(NEVER_RAISED)
    return f"{gate}: {run.name} has {len(values)} values of {gate.key}, so it was not judged" if few else ""


def _column(gate: Gate, run: Any) -> tuple[str, list[int], list[float]]:
    kinds = [kind for kind in ("train", "eval") if gate.key in run.columns(kind)]
    if not kinds and gate.key.startswith(NEVER_RAISED) and gate.key in run.header["definitions"]:
        return "train", [], []
    if not kinds:
        known = sorted({*run.columns("train"), *run.columns("eval")})
        raise ValueError(f"--fail-if {gate}: {run.name} has no column {gate.key!r}; {catalog.suggest(gate.key, known)}")
    steps, values = run.column(gate.key, kinds[0])
    return kinds[0], [int(step) for step in steps], [float(value) for value in values]
