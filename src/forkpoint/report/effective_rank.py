"""Effective rank of hidden states, its velocity and acceleration, each beside that of independent states."""

from collections.abc import Sequence
from dataclasses import replace
from math import fsum

from forkpoint.record.read import Run
from forkpoint.report._plot import line, panel
from forkpoint.report._section import Figure, Section
from forkpoint.report._series import Series, columns, definitions, remarks, series, step_table
from forkpoint.report._text import listed, number, sentence

ORDER = 57
NULLS = {
    "rank/effective": "rank/null",
    "rank/velocity": "rank/null_velocity",
    "rank/acceleration": "rank/null_acceleration",
}
"""each column, and that of independent Gaussian states of the same shape"""
WORDS = {
    "rank/effective": "effective rank",
    "rank/velocity": "velocity over prefixes",
    "rank/acceleration": "acceleration over prefixes",
}
CAPTION = (
    "Thin dotted lines are the null: what independent Gaussian states of the answers' lengths and of the model's "
    "dimension have. All three quantities depend on the length of an answer whatever it says, so only their distance "
    "from the null tells of the states. Read at training steps; ends in the sentence are means of the last tenth."
)


def effective_rank(runs: Sequence[Run]) -> Section | None:
    """None where no run recorded an effective rank."""
    found = {key: group for key in NULLS if (group := series(runs, key, "train"))}
    if "rank/effective" not in found:
        return None
    nulls = {key: series(runs, NULLS[key], "train") for key in found}
    drawn = [one for key, group in found.items() for one in (*group, *nulls[key])]
    return Section(
        "Effective rank",
        _finding(found, nulls),
        [_figure(key, group, nulls[key]) for key, group in found.items()],
        definitions(runs, *dict.fromkeys(one.key for one in drawn)),
        CAPTION,
        step_table(drawn, [f"{one.key.removeprefix('rank/')}, {one.name}" for one in drawn]),
        [*remarks(runs, drawn), *_missing(runs, found, nulls)],
    )


def _figure(key: str, group: Sequence[Series], nulls: Sequence[Series]) -> Figure:
    """One line per run, and its null as a thin dotted one of the same color."""
    figure = panel(WORDS[key][:1].upper() + WORDS[key][1:], group)
    return replace(figure, traces=[*figure.traces, *(_null(one) for one in nulls)])


def _null(one: Series) -> dict[str, object]:
    trace = line(one, name=f"null, {one.name}", marks=False)
    return trace | {"line": trace["line"] | {"width": 1, "dash": "dot"}}


def _finding(found: dict[str, list[Series]], nulls: dict[str, list[Series]]) -> str:
    """Where each quantity ended, and where its null did."""
    clauses = []
    for key, group in found.items():
        beside = {one.arm: one for one in nulls[key]}
        told = [f"{number(_end(one), 2)} ({_told(beside.get(one.arm))}) with {one.name}" for one in group]
        clauses.append(f"{'the' if key == 'rank/effective' else 'its'} {WORDS[key]} ended at {listed(told)}")
    return sentence("; ".join(clauses))


def _told(null: Series | None) -> str:
    return "no null recorded" if null is None else f"null {number(_end(null), 2)}"


def _end(one: Series) -> float:
    """Mean of the last tenth of the finite values: one batch tells little of a velocity."""
    last = [value for _, value in one.finite][-max(1, len(one.finite) // 10) :]
    return fsum(last) / len(last)


def _missing(runs: Sequence[Run], found: dict[str, list[Series]], nulls: dict[str, list[Series]]) -> list[str]:
    recorded = columns(runs, "train", "rank/")
    short = [key for key in NULLS if key in recorded and key not in found]
    notes = [f"No answer was long enough for {listed(short)}: they take two and three prefixes."] if short else []
    absent = [NULLS[key] for key in found if not nulls[key]]
    return notes + ([f"No run recorded {listed(absent)}."] if absent else [])
