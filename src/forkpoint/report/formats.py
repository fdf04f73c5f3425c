"""Which notations survive training, and how many tries an answer takes."""

from collections.abc import Sequence
from typing import Any

from forkpoint.record.read import Run
from forkpoint.report._plot import PERCENT, color, layout, panel
from forkpoint.report._section import Figure, Section
from forkpoint.report._series import Series, arm_names, changes, columns, definitions, remarks, series, step_table
from forkpoint.report._text import listed, number, percent, plotted, sentence
from forkpoint.report.summary import format_numbers

ORDER = 60
PREFIX = "diversity/format/"
LABELED_SHARE = 0.07
"""a band thinner than this everywhere has no room for its name"""


def formats(runs: Sequence[Run]) -> Section | None:
    """None where no run recorded format shares."""
    keys = columns(runs, "eval", PREFIX)
    tries = series(runs, "diversity/tries", "eval")
    if not keys:
        return None
    shares = [one for key in keys for one in series(runs, key, "eval")]
    found = [*shares, *tries]
    return Section(
        "Formats",
        _finding(runs, shares),
        [*_panels(runs, shares), *([panel("Tries per answer, mean", tries, form=".2f")] if tries else [])],
        definitions(runs, *keys, *(["diversity/tries"] if tries else [])),
        "Shares of all answers at an evaluation; the bands of one run add up to 100%.",
        step_table(
            found, [f"{one.key.removeprefix('diversity/').removeprefix('format/')}, {one.name}" for one in found]
        ),
        remarks(runs, found),
    )


def _panels(runs: Sequence[Run], shares: Sequence[Series]) -> list[Figure]:
    """One panel per arm: its formats stacked, in shades of the arm's color."""
    names = arm_names(runs)
    by_arm = {arm: [one for one in shares if one.arm == arm] for arm in range(len(runs))}
    return [_stack(arm, names[arm], bands) for arm, bands in by_arm.items() if bands]


def _stack(arm: int, name: str, bands: Sequence[Series]) -> Figure:
    opacities = [0.75 - 0.6 * rank / max(1, len(bands) - 1) for rank in range(len(bands))]
    return Figure(
        f"Share of each format: {name}",
        [_band(one, opacity) for one, opacity in zip(bands, opacities, strict=True)],
        layout("optimizer step", PERCENT, [0.0, 1.0], annotations=_labels(bands)),
        [(arm, name)],
    )


def _band(one: Series, opacity: float) -> dict[str, Any]:
    drawn = one.thinned()
    return {
        "type": "scatter",
        "mode": "lines",
        "stackgroup": "formats",
        "x": list(drawn.steps),
        "y": list(drawn.values),
        "name": plotted(one.key.removeprefix(PREFIX)),
        "line": {"color": "--paper", "width": 1},
        "fillcolor": color(one.arm, opacity),
        "hovertemplate": "%{y:.1%}",
    }


def _labels(bands: Sequence[Series]) -> list[dict[str, Any]]:
    """Each band's name inside it, where it is thickest."""
    labels: list[dict[str, Any]] = []
    for rank, one in enumerate(bands):
        step, share = max(one.finite, key=lambda point: point[1])
        below = sum(dict(other.finite).get(step, 0.0) for other in bands[:rank])
        ends = (one.steps[0], one.steps[-1])
        place = {"x": step, "y": below + share / 2, "text": plotted(one.key.removeprefix(PREFIX)), "showarrow": False}
        side = {"xanchor": "left" if step == ends[0] else "right" if step == ends[1] else "center", "xshift": 0}
        side["xshift"] = {"left": 8, "right": -8, "center": 0}[side["xanchor"]]
        labels += [{**place, **side}] if share >= LABELED_SHARE else []
    return labels


def _finding(runs: Sequence[Run], shares: Sequence[Series]) -> str:
    """How many formats are left, and which one leads in each run."""
    clauses: list[str] = []
    for one in format_numbers(runs):
        leader = max((band for band in shares if band.arm == one.arm), key=lambda band: band.last)
        clauses.append(f"{percent(leader.last)} of answers with {one.name} ({leader.key.removeprefix(PREFIX)})")
    numbers = changes(format_numbers(runs), lambda value: number(value, 2))
    return sentence(f"the effective number of formats {numbers}; the most common one ends at {listed(clauses)}")
