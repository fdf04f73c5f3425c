"""Feedback at work: each knob that a controller turned, and each reading beside what it was held to."""

from collections.abc import Sequence

from forkpoint.record.read import Run
from forkpoint.report._plot import line, panel
from forkpoint.report._section import Figure, Section
from forkpoint.report._series import Series, columns, definitions, remarks, series, step_table
from forkpoint.report._text import listed, number, sentence

ORDER = 55
PREFIX = "control/"
SHARES = ("control/marked_share", "control/removed_share")
"""of the plan, and no knobs"""
EDGES = {"target": "set-point", "lower": "lower edge", "upper": "upper edge"}
CAPTION = "A step's reading turns the knob of the next step. Thin lines are set-points and edges of bands."


def control(runs: Sequence[Run]) -> Section | None:
    """None where no run has a controller."""
    keys = [key for key in columns(runs, "train", PREFIX) if key not in SHARES]
    aims = [key for key in keys if key.split("/")[1] in EDGES]
    knobs = {key: series(runs, key, "train") for key in keys if key not in aims}
    if not keys:
        return None
    readings = list(dict.fromkeys(key.split("/", 2)[2] for key in aims))
    held = {reading: series(runs, reading, "train") for reading in readings}
    sought = {reading: [one for edge in EDGES for one in _aims(runs, edge, reading)] for reading in readings}
    drawn = [one for group in (*knobs.values(), *held.values()) for one in group]
    return Section(
        "Control",
        _finding(held, sought, list(knobs.values())),
        [
            *(panel(f"Knob {key.removeprefix(PREFIX)}", group) for key, group in knobs.items() if group),
            *(_panel(reading, held[reading], sought[reading]) for reading in readings if held[reading]),
        ],
        definitions(runs, *knobs, *readings, *aims),
        CAPTION,
        step_table(drawn, [f"{one.key.removeprefix(PREFIX)}, {one.name}" for one in drawn]),
        remarks(runs, drawn),
    )


def _aims(runs: Sequence[Run], edge: str, reading: str) -> list[Series]:
    return series(runs, f"{PREFIX}{edge}/{reading}", "train")


def _panel(reading: str, held: Sequence[Series], sought: Sequence[Series]) -> Figure:
    """The reading of each run, and what it was held to as a faint line of the same color."""
    figure = panel(f"{reading}, and what it is held to", held)
    told = [line(one, name=f"{EDGES[one.key.split('/')[1]]}, {one.name}", faint=True) for one in sought]
    return Figure(figure.title, [*figure.traces, *told], figure.layout, figure.arms)


def _finding(held: dict[str, list[Series]], sought: dict[str, list[Series]], knobs: Sequence[Sequence[Series]]) -> str:
    """How far each held reading ended from its set-point, or from its band; else where the knobs ended."""
    clauses = []
    for reading, found in held.items():
        for one in found:
            aims = {aim.key.split("/")[1]: aim.last for aim in sought[reading] if aim.arm == one.arm}
            clauses += [f"the reading {reading} {_ended(one.last, aims)} with {one.name}"] if aims else []
    if not clauses:
        last = [(one.key.removeprefix(PREFIX), number(one.last), one.name) for group in knobs for one in group]
        clauses = [f"knob {knob} ended at {value} with {name}" for knob, value, name in last]
    return sentence(listed(clauses) or "no knob has a finite value")


def _ended(value: float, aims: dict[str, float]) -> str:
    """
    >>> _ended(0.5, {"target": 0.4}), _ended(0.7, {"lower": 0.4, "upper": 0.6})
    ('ended 0.100 from its set-point of 0.400', 'ended 0.100 outside its band')
    """
    if "target" in aims:
        return f"ended {number(abs(value - aims['target']))} from its set-point of {number(aims['target'])}"
    outside = max(aims.get("lower", value) - value, value - aims.get("upper", value), 0.0)
    return f"ended {number(outside)} outside its band" if outside else "ended inside its band"
