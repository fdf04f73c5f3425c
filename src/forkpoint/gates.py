"""Gates: conditions on a run's last values that turn into an exit code, for CI (``--fail-if "entropy/full<0.05"``)."""

import math
import operator
import re
from typing import Any, NamedTuple

from forkpoint import catalog

OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Gate(NamedTuple):
    """Fails when the value compares true with the limit."""

    key: str
    relation: str
    limit: float

    def fails(self, value: float) -> bool:
        """Whether ``value`` trips the gate.

        >>> Gate("entropy/full", "<", 0.05).fails(0.03), Gate("entropy/full", "<", 0.05).fails(0.05)
        (True, False)
        """
        # nan compares false with everything, so a broken run would pass every gate: it trips them all instead
        return math.isnan(value) or bool(OPERATORS[self.relation](value, self.limit))

    def __str__(self) -> str:
        return f"{self.key}{self.relation}{self.limit:g}"


def parse(text: str) -> Gate:
    """``KEY<VALUE`` with one of < <= > >=, spaces allowed; keys may hold any other character.

    Raises ValueError that shows the form.

    >>> parse("pass@8 >= 0.9")
    Gate(key='pass@8', relation='>=', limit=0.9)
    """
    found = re.fullmatch(r"\s*([^<>=]+?)\s*(<=|>=|<|>)\s*(\S+)\s*", text)
    try:
        gate = Gate(found[1], found[2], float(found[3])) if found else None
    except ValueError:
        gate = None
    if gate is None or math.isnan(gate.limit):
        raise ValueError(f'--fail-if {text!r} is not KEY<NUMBER; write it like "entropy/full<0.05" with < <= > or >=')
    return gate


def tripped(gate: Gate, run: Any) -> str:
    """What tripped ``gate`` at the run's last value, in words; empty where nothing did.

    Training steps are looked at first, evaluations where only they have the column. ValueError names the nearest
    column where neither has it.
    """
    kinds = [kind for kind in ("train", "eval") if gate.key in run.columns(kind)]
    if not kinds:
        known = sorted({*run.columns("train"), *run.columns("eval")})
        raise ValueError(f"--fail-if {gate}: {run.name} has no column {gate.key!r}; {catalog.suggest(gate.key, known)}")
    steps, values = run.column(gate.key, kinds[0])
    told = f"{gate}: {gate.key} is {float(values[-1]):g} at {kinds[0]} step {int(steps[-1])}"
    return told if gate.fails(float(values[-1])) else ""
