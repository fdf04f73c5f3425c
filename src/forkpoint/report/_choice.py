"""Which rollouts a page shows: a fixed rule, so that nobody picks them and two pages of one run agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from forkpoint.record.read import Run

EACH_HALF = 10
VERDICTS = {"correct": ("✓", "correct"), "wrong": ("✕", "wrong")}
NO_VERDICT = ("?", "no verdict")


def chosen(runs: Sequence[Run], half: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Ten of (arm, row): in turn over verdicts and runs, in recorded order, a new prompt where there is one.

    ``half`` is "early" or "late": the first or the last half of the steps that kept rollouts.
    """
    rows = [(arm, row) for arm, run in enumerate(runs) for row in _half(_kept(run), half)]
    queues = [
        [pick for pick in rows if pick[0] == arm and verdict_of(pick[1])[1] == verdict]
        for verdict in ("correct", "wrong", NO_VERDICT[1])
        for arm in range(len(runs))
    ]
    turns = {}
    for pick in (pick for turn in zip_longest(*queues) for pick in turn if pick is not None):
        # runs that start from one policy answer alike at step 0: the first of them stands for all
        turns.setdefault(_content(pick[1]), pick)
    return sorted([*turns.values()][:EACH_HALF], key=lambda pick: pick[0])


def _content(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for the same answer to the same prompt from the same policy."""
    return row.get("prompt"), row.get("text"), tuple(row.get("entropy") or ()), row.get("verdict")


def _kept(run: Run) -> list[dict[str, Any]]:
    """Rollouts of evaluations, whose problems are the same early and late; of training where there are no others."""
    return run.rollouts(kind="eval") or run.rollouts()


def _half(rows: Sequence[Mapping[str, Any]], half: str) -> list[Mapping[str, Any]]:
    """The rows of the first or last half of the steps that kept any; a single step counts as early."""
    steps = sorted({int(row["step"]) for row in rows})
    cut = steps[(len(steps) + 1) // 2 :]
    inside = [row for row in rows if (int(row["step"]) in cut) == (half == "late")]
    seen: Counter[tuple[int, str, str]] = Counter()
    turn: list[tuple[int, int]] = []
    for row in inside:
        same = (int(row["step"]), str(row.get("prompt")), str(row.get("verdict")))
        turn.append((int(row["step"]) * (-1 if half == "late" else 1), seen[same]))
        seen[same] += 1
    return [row for _, row in sorted(zip(turn, inside, strict=True), key=lambda pair: pair[0])]


def verdict_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """(sign, words): told apart by shape and by text, not by color."""
    return VERDICTS.get(str(row.get("verdict")), NO_VERDICT)
