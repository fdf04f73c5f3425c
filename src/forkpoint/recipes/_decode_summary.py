"""What a comparison of decoders says: accuracy and tokens with intervals over problems, and paired differences."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forkpoint.probes import Value, over_problems
from forkpoint.recipes.decode import Compared, Row
from forkpoint.report._text import listed
from forkpoint.significance import holm, sign_test

DRAWS = {"temperature": 0.6, "top_k": 0, "top_p": 0.95, "min_p": 0.0}
"""settings by which decoders sample, with values that serve them all"""


class Point(NamedTuple):
    """One decoder at one budget."""

    method: str
    budget: int
    accuracy: Value
    """over the problems that got a verdict"""
    tokens: Value
    """per problem, all of them: read, read again, kept and discarded"""
    prompt: float
    reread: float
    kept: float
    discarded: float
    traces: float
    no_verdict: int
    cpu_us: float
    """per generated token"""
    cache_bytes: int
    """most at a time"""


class Contrast(NamedTuple):
    """One decoder against the first, on the same problems at the same budget."""

    method: str
    budget: int
    difference: Value
    better: int
    worse: int
    p: float
    """sign test, adjusted after Holm over all contrasts of the page"""


def points(compared: Compared) -> list[Point]:
    """Every decoder at every budget, in the order asked."""
    asked = compared.asked
    return [_point(compared, method, budget) for method in asked.names for budget in asked.budgets]


def contrasts(compared: Compared) -> list[Contrast]:
    """Every decoder but the first against the first, budget by budget."""
    first, *others = compared.asked.names
    found = [_contrast(compared, first, other, budget) for other in others for budget in compared.asked.budgets]
    adjusted = holm([one.p for one in found])
    return [one._replace(p=p) for one, p in zip(found, adjusted, strict=True)]


def remarks(compared: Compared) -> list[str]:
    """Whether they draw differently, answers without a verdict, and what decoders say of theirs, with how many."""
    missing = Counter((row["method"], row["budget"]) for row in compared.rows if row["verdict"] == "none")
    lost = [f"{method} at {budget}: {count} without a verdict" for (method, budget), count in missing.items()]
    told: dict[tuple[str, str], Counter[int]] = {}
    for row in compared.rows:
        if note := row.get("note"):
            told.setdefault((row["method"], note), Counter())[row["budget"]] += 1
    return [*_draws(compared), *lost, *(_noted(*key, budgets) for key, budgets in told.items())]


def _noted(method: str, note: str, budgets: Counter[int]) -> str:
    """What a decoder says of its answers, once for all budgets.

    >>> _noted("a", "idle", Counter({64: 1})), _noted("a", "idle", Counter({64: 3, 128: 1}))
    ('a at 64: idle (1 problem)', 'a at 64 and 128: idle (3 and 1 problems)')
    """
    problems = "problem" if [*budgets.values()] == [1] else "problems"
    counts = listed([str(count) for count in budgets.values()])
    return f"{method} at {listed([str(budget) for budget in budgets])}: {note} ({counts} {problems})"


def _draws(compared: Compared) -> list[str]:
    """A sentence where the decoders that sample do so by other settings: they differ in more than their rule."""
    made = compared.asked.decoders()
    drawn = {name: one.settings for name, one in made.items() if DRAWS.keys() <= one.settings.keys()}
    unlike = [key for key in DRAWS if len({settings[key] for settings in drawn.values()}) > 1]
    if not unlike:
        return []
    by: dict[str, list[str]] = {}
    for name, settings in drawn.items():
        by.setdefault(", ".join(f"{key} {settings[key]:g}" for key in unlike), []).append(name)
    told = "; ".join(f"{', '.join(names)}: {values}" for values, names in by.items())
    remedy = " ".join(f"{key}={DRAWS[key]:g}" for key in unlike)
    return [f"not drawn alike ({told}); for one way to draw give --settings {remedy}"]


def right(rows: Sequence[Row]) -> NDArray[np.float64]:
    """1 for correct, 0 for wrong, nan where there was no verdict.

    >>> right([{"verdict": "correct"}, {"verdict": "none"}, {"verdict": "wrong"}])
    array([ 1., nan,  0.])
    """
    return np.array([{"correct": 1.0, "wrong": 0.0}.get(row["verdict"], math.nan) for row in rows])


def _point(compared: Compared, method: str, budget: int) -> Point:
    rows = compared.of(method, budget)
    times = [part for part in compared.times if part["method"] == method and part["budget"] == budget]
    column = {key: np.array([row[key] for row in rows], dtype=float) for key in Point._fields[4:9]}
    total = sum(column[key] for key in ("prompt", "reread", "kept", "discarded"))
    generated = float((column["kept"] + column["discarded"]).sum())
    return Point(
        method,
        budget,
        over_problems(right(rows), unit="share"),
        over_problems(np.asarray(total), unit="tokens"),
        *(float(column[key].mean()) for key in Point._fields[4:9]),
        no_verdict=sum(row["verdict"] == "none" for row in rows),
        cpu_us=1e6 * sum(part["cpu_s"] for part in times) / max(1.0, generated),
        cache_bytes=max(part["cache_bytes"] for part in times),
    )


def _contrast(compared: Compared, first: str, other: str, budget: int) -> Contrast:
    difference = right(compared.of(other, budget)) - right(compared.of(first, budget))
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    value = over_problems(difference, unit="share")
    return Contrast(other, budget, value, better, worse, sign_test(better, worse))
