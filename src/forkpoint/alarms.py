"""Alarms: conditions over a run's training rows that say when to look, what it means and what to do.

A condition holds at a reading; it is raised once it has held at ``patience`` readings in a row, and not again until a
reading has cleared it. A row without the column is no reading: it neither counts nor clears. No comparison holds at
nan; conditions that look for it say so. Entropy has both edges: too little, and too much.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from forkpoint.gates import OPERATORS

Row = Mapping[str, Any]
Severity = Literal["warning", "error"]
Kind = Literal["train", "eval"]
PREFIX = "alarm/"
TAUGHT = ("advantage/abs", 1e-12)
"""where every advantage is 0 a method has nothing to change, and ``dead_groups`` says why"""
NOT_FINITE = "is not finite"
FIRST = 5
"""readings whose mean entropy is measured by; such first readings are a warm-up and never judged"""
LOW = 0.02
"""nats per token under which entropy is nearly spent"""


@dataclass(frozen=True)
class Condition:
    """One line of the table."""

    name: str
    """its column is ``alarm/NAME``"""
    key: str
    """the column it reads"""
    relation: str
    """< <= > >=, or ``is not finite``"""
    limit: float
    patience: int
    severity: Severity
    sentence: str
    """what it means and what to do"""
    of_first: int = 0
    """if not 0, the limit counts multiples of the mean of so many first finite readings, not the column's unit"""
    if_acts: bool = False
    """only where a method means to change tokens: plain GRPO may well change none"""
    kind: Kind = "train"
    """whose rows it reads"""
    while_above: tuple[str, float] = ("", 0.0)
    """what is read where this other column of the row is below this value, or absent, neither counts nor clears"""

    def holds(self, value: float, scale: float = 1.0) -> bool:
        """Whether it holds at ``value``, the limit taken ``scale`` times.

        >>> low = CONDITIONS["entropy_low"]
        >>> low.holds(0.01), low.holds(0.02), low.holds(float("nan"))
        (True, False, False)
        """
        if self.relation == NOT_FINITE:
            return not math.isfinite(value)
        # multiples of a first reading that was not above zero would point the other way
        return scale > 0 and bool(OPERATORS[self.relation](value, self.limit * scale))

    def __str__(self) -> str:
        limit = "" if self.relation == NOT_FINITE else f" {self.limit:g}"
        first = "its first reading" if self.of_first == 1 else f"the mean of its first {self.of_first} readings"
        scale = f" x {first}" if self.of_first else ""
        beside, least = self.while_above
        beside = f" while {beside} >= {least:g}" if beside else ""
        lasting = f" for {self.patience}" if self.patience > 1 else ""
        return f"{self.key} {self.relation}{limit}{scale}{beside}{lasting}"


class Alarm(NamedTuple):
    """A condition that was raised."""

    name: str
    first: int
    """optimizer step of the first reading in a row at which it held"""
    step: int
    """step at which it was raised"""
    severity: Severity
    sentence: str

    def __str__(self) -> str:
        since = f"step {self.step}" if self.first == self.step else f"steps {self.first} to {self.step}"
        return f"{self.name} at {since}: {self.sentence}"


def _table(*rows: Condition) -> dict[str, Condition]:
    return {row.name: row for row in rows}


CONDITIONS = _table(
    Condition(
        *("inert", "guard/changed_share", "<=", 0.0, 10, "warning"),
        "the method changed no token's gradient, so this is plain policy gradient; raise the updates per rollout or "
        "the method's dose",
        if_acts=True,
        while_above=TAUGHT,
    ),
    Condition(
        *("empty_selection", "guard/empty_selection", ">", 0.0, 10, "warning"),
        "a credit rule of the method changed no token of the whole step; widen its band, raise its share, or label "
        "tokens with the role it goes by",
        if_acts=True,
        while_above=TAUGHT,
    ),
    Condition(
        *("no_gradient", "grad_norm", "<=", 0.0, 10, "warning"),
        "the gradient is zero, so nothing is learned; look at the rewards of the groups, and at the method's settings",
    ),
    Condition(
        *("dead_groups", "guard/dead_group_share", ">=", 0.9, 10, "warning"),
        "almost every group has equal rewards and teaches nothing; choose problems the policy solves sometimes",
    ),
    Condition(
        *("duplicate_groups", "guard/duplicate_group_share", ">=", 0.5, 10, "warning"),
        "half of the groups hold one completion over and over; raise the temperature, or go back to a checkpoint "
        "with more entropy",
    ),
    Condition(
        *("no_verdict", "guard/no_verdict_share", ">=", 0.2, 3, "warning"),
        "a fifth of the completions got no verdict; see verdict_reason in the rollouts, and the verifier's limits",
    ),
    Condition(
        *("nonfinite", "guard/nonfinite", ">", 0.0, 1, "error"),
        "a log-prob, advantage or reward is nan or infinite; stop, and resume from before this step",
    ),
    Condition(
        *("entropy_nonfinite", "guard/entropy_nonfinite", ">", 0.0, 1, "error"),
        "some tokens have no finite entropy; look for infinite logits, such as a sampler's mask in the forward pass",
    ),
    Condition(
        *("loss_nonfinite", "loss", NOT_FINITE, 0.0, 1, "error"),
        "the loss is not finite; stop, and train again with a lower learning rate",
    ),
    Condition(
        *("grad_norm_nonfinite", "grad_norm", NOT_FINITE, 0.0, 1, "error"),
        "the gradient is not finite; stop, and train again with a lower learning rate",
    ),
    Condition(
        *("reward_outside", "guard/reward_outside", ">", 0.0, 1, "error"),
        "a reward is outside the range that its function declares; check the verifier before training on it",
    ),
    Condition(
        *("entropy_low", "entropy/full", "<", LOW, 10, "warning"),
        f"entropy is nearly spent (below {LOW} nats), so little more can be learned; spend less per step, or stop here",
    ),
    Condition(
        *("entropy_high", "entropy/full", ">", 2.0, 10, "warning"),
        f"entropy is above twice the mean of its first {FIRST} steps; lower the bonus, the upper clip or the dose",
        of_first=FIRST,
    ),
    Condition(
        *("draws_short", "guard/draws_short", ">=", 0.5, 10, "warning"),
        "the method found less than half of the tokens it shall choose, so its dose is lower than set; widen its band "
        "or raise its share",
        if_acts=True,
    ),
    Condition(
        *("controller_held", "guard/controller_held", ">=", 5.0, 1, "warning"),
        "a controller could not use its readings for five steps and keeps its settings; see which column is missing "
        "or not finite",
    ),
    Condition(
        *("reward_misfit", "guard/reward_misfit", ">", 0.0, 1, "error"),
        "a reward is none of those the method is defined for, so its estimate is wrong; score as it asks, or choose "
        "another method",
    ),
    Condition(
        *("template_collapse", "diversity/mutual_information", "<", 0.1, 2, "warning"),
        "completions tell hardly more of their prompts than at chance while entropy looks healthy; read some rollouts, "
        "and go back to a checkpoint",
        of_first=1,
        kind="eval",
        while_above=("entropy/full", LOW),
    ),
)
"""every alarm there is, by name"""


@dataclass(frozen=True)
class _Watched:
    """What one condition remembers between readings."""

    held: int = 0
    """readings in a row at which it held"""
    since: int = 0
    """step of the first of them"""
    seen: int = 0
    """finite readings of the warm-up, at most ``of_first``"""
    total: float = 0.0
    """their sum"""


class Watch:
    """The conditions over rows that come one by one; what it remembers is JSON, so it survives a resume."""

    def __init__(self, *, acts: bool) -> None:
        self._conditions = [c for c in CONDITIONS.values() if acts or not c.if_acts]
        self._memory = {condition.name: _Watched() for condition in self._conditions}

    def take(self, step: int, row: Row, kind: Kind = "train") -> list[Alarm]:
        """The alarms that this row raises. A row may come in parts, as long as no key comes twice."""
        return [
            alarm
            for condition in self._conditions
            if condition.kind == kind and condition.key in row and (alarm := self._judge(condition, step, row))
        ]

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON."""
        return {name: asdict(memory) for name, memory in self._memory.items()}

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from ``state``; what it holds of an alarm that another version had is left out."""
        self._memory |= {name: _Watched(**kept) for name, kept in state.items() if name in self._memory}

    def _judge(self, condition: Condition, step: int, row: Row) -> Alarm | None:
        memory, value = self._memory[condition.name], float(row[condition.key])
        beside, least = condition.while_above
        if memory.seen < condition.of_first:
            if math.isfinite(value):
                memory = replace(memory, seen=memory.seen + 1, total=memory.total + value)
            self._memory[condition.name] = memory
            return None
        if beside and not row.get(beside, math.nan) >= least:
            return None
        if not condition.holds(value, memory.total / memory.seen if condition.of_first else 1.0):
            self._memory[condition.name] = replace(memory, held=0, since=0)
            return None
        memory = replace(memory, held=memory.held + 1, since=memory.since if memory.held else step)
        self._memory[condition.name] = memory
        if memory.held != condition.patience:
            return None
        return Alarm(condition.name, memory.since, step, condition.severity, condition.sentence)


def raised(rows: Sequence[Row], *, acts: bool, kind: Kind = "train") -> list[Alarm]:
    """The alarms that the rows of a run raise, in order; each has its ``step``. ``acts``: as ``if_acts`` asks.

    >>> rows = [{"step": step, "guard/dead_group_share": 1.0} for step in range(1, 30)]
    >>> [(alarm.name, alarm.first, alarm.step) for alarm in raised(rows, acts=False)]
    [('dead_groups', 1, 10)]
    """
    watch = Watch(acts=acts)
    return [alarm for row in rows for alarm in watch.take(int(row["step"]), row, kind)]


def recorded(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """(step, name) of every alarm that was raised while the run was made, from its ``alarm/NAME`` columns.

    >>> recorded([{"step": 1}, {"step": 2, "alarm/inert": 1.0}])
    [(2, 'inert')]
    """
    return [(int(row["step"]), key.removeprefix(PREFIX)) for row in rows for key in row if key.startswith(PREFIX)]


def meaning(name: str) -> str:
    """What an alarm says; of one that this version does not know, that.

    >>> meaning("dead_groups").partition(";")[0]
    'almost every group has equal rewards and teaches nothing'
    """
    known = CONDITIONS.get(name)
    return known.sentence if known else "an alarm that this version of forkpoint does not know"
