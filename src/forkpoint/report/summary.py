"""What ran, and where four numbers started and ended: accuracy, pass@k, entropy, and how many formats are alive."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from forkpoint.record.read import Run
from forkpoint.report._section import Section
from forkpoint.report._series import Series, arm_names, changes, columns, definitions, either, series
from forkpoint.report._text import number, percent, sentence
from forkpoint.report.pass_at_k import largest_k

ORDER = 10


class Headline(NamedTuple):
    title: str
    explanation: str
    changes: Sequence[tuple[int, str, str, str]]
    """(arm, name, start, end)"""


def summary(runs: Sequence[Run]) -> Section | None:
    """Always there: a run without any reading still says what it was."""
    keys = ["accuracy", f"pass@{largest_k(runs)}", "entropy/full", *columns(runs, "eval", "diversity/format/")]
    return Section(
        "Summary",
        sentence(f"{_finding(runs)}; {hedge(runs)}"),
        definitions=definitions(runs, *keys),
        template="summary.html.jinja",
        content={
            "arms": [_arm(run, name) for run, name in zip(runs, arm_names(runs), strict=True)],
            "headlines": _headlines(runs),
        },
    )


def hedge(runs: Sequence[Run]) -> str:
    """How far the numbers carry: runs that share a method are its repeats; one of each proves little."""
    repeats: dict[str, int] = {}
    for run in runs:
        repeats[str(run.header.get("method"))] = repeats.get(str(run.header.get("method")), 0) + 1
    if min(repeats.values()) > 1:
        return f"{min(repeats.values())} or more runs of each method, no interval computed here"
    return (
        "one run each is a demonstration, not a result" if len(runs) > 1 else "one run is a demonstration, not a result"
    )


def _finding(runs: Sequence[Run]) -> str:
    """A clause per arm, over the headline numbers it has."""
    _, entropy = either(runs, "entropy/full")
    clauses: list[str] = []
    for arm, name in enumerate(arm_names(runs)):
        gained = _clause(series(runs, "accuracy", "eval"), arm, "accuracy", percent)
        spent = _clause(entropy, arm, "entropy", number, " nats")
        clauses += [f"with {name}, {' while '.join([*gained, *spent])}"] if gained or spent else []
    return "; ".join(clauses) or "no accuracy and no entropy were recorded"


def _clause(found: Sequence[Series], arm: int, what: str, form: Callable[[float], str], unit: str = "") -> list[str]:
    mine = [one for one in found if one.arm == arm]
    return [f"{what} {changes(mine, form, unit)}".removesuffix(f" with {mine[0].name}")] if mine else []


def _arm(run: Run, name: str) -> dict[str, Any]:
    method = run.header.get("method") or {}
    settings = ", ".join(f"{key} {value}" for key, value in (method.get("settings") or {}).items())
    return {
        "name": name,
        "method": method.get("name", "not recorded"),
        "settings": settings or "defaults",
        "kind": "manages entropy" if method.get("intervenes") else "leaves entropy alone",
        "task": run.header.get("task", "not recorded"),
        "seed": run.header.get("seed", "not recorded"),
        "steps": max((int(row["step"]) for kind in ("train", "eval") for row in run.metrics(kind)), default=0),
    }


def _headlines(runs: Sequence[Run]) -> list[Headline]:
    k = largest_k(runs)
    _, entropy = either(runs, "entropy/full")
    headlines = [
        _headline("Accuracy", "share of sampled answers that are right", series(runs, "accuracy", "eval"), percent),
        _headline(
            f"pass@{k}", f"share of problems with a right answer in {k}", series(runs, f"pass@{k}", "eval"), percent
        ),
        _headline("Entropy", "nats per token", entropy, number),
        _headline(
            "Formats alive", "effective number, exp of the entropy of their shares", format_numbers(runs), _one_decimal
        ),
    ]
    return [headline for headline in headlines if headline.changes]


def _headline(title: str, explanation: str, found: Sequence[Series], form: Callable[[float], str]) -> Headline:
    return Headline(title, explanation, [(one.arm, one.name, form(one.first), form(one.last)) for one in found])


def _one_decimal(value: float) -> str:
    return number(value, 2)


def format_numbers(runs: Sequence[Run]) -> list[Series]:
    """Effective number of formats at each evaluation."""
    found: list[Series] = []
    for arm, (run, name) in enumerate(zip(runs, arm_names(runs), strict=True)):
        keys = columns([run], "eval", "diversity/format/")
        rows = [row for row in run.metrics("eval") if all(math.isfinite(row.get(key, math.nan)) for key in keys)]
        values = [effective_number([row[key] for key in keys]) for row in rows]
        found += [Series(arm, name, "formats", [int(row["step"]) for row in rows], values)] if keys and rows else []
    return found


def effective_number(shares: Sequence[float]) -> float:
    """exp(-sum p ln p): how many equally common formats would be as varied; from 1 (one left) to their number.

    >>> round(effective_number([0.5, 0.5]), 6), effective_number([1.0, 0.0])
    (2.0, 1.0)
    """
    return math.exp(-sum(share * math.log(share) for share in shares if share > 0))
