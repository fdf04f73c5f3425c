"""pass@k: the chance that at least one of k answers is right. What sharpening wins at k = 1 it can lose at k = 8."""

import re
from collections.abc import Sequence
from typing import Any

from forkpoint.record.read import Run
from forkpoint.report._plot import PERCENT, color, dash, layout, panel, share_range, symbol
from forkpoint.report._section import Figure, Section
from forkpoint.report._series import Series, changes, columns, definitions, remarks, series, step_table
from forkpoint.report._text import listed, percent, plotted

ORDER = 30
CAPTION = (
    "Percent axes show the range of the data. Right: open marks and thin lines at the first evaluation,"
    " filled marks and thick lines at the last."
)


def pass_at_k(runs: Sequence[Run]) -> Section | None:
    """None where no run recorded a pass@k."""
    k = largest_k(runs)
    over_steps = series(runs, f"pass@{k}", "eval")
    if not over_steps:
        return None
    found = [series(runs, f"pass@{size}", "eval") for size in sizes(runs)]
    flat = [one for per_size in found for one in per_size]
    return Section(
        "pass@k",
        _finding(over_steps, series(runs, "pass@1", "eval"), k),
        [
            panel(f"pass@{k} on held-out problems", over_steps, form=PERCENT, y_range=share_range(over_steps)),
            _against_k(found),
        ],
        definitions(runs, *(f"pass@{size}" for size in sizes(runs))),
        CAPTION,
        step_table(flat, [f"{one.key}, {one.name}" for one in flat]),
        remarks(runs, flat),
    )


def sizes(runs: Sequence[Run]) -> list[int]:
    """The k of every ``pass@k`` column, smallest first."""
    matches = [re.fullmatch(r"pass@(\d+)", key) for key in columns(runs, "eval", "pass@")]
    return sorted(int(match[1]) for match in matches if match)


def largest_k(runs: Sequence[Run]) -> int:
    """The k that headlines are about; 1 where none was recorded."""
    return max(sizes(runs), default=1)


def _finding(over_steps: Sequence[Series], single: Sequence[Series], k: int) -> str:
    alone = {one.arm: one.last for one in single}
    gains = [
        f"{100 * (one.last - alone[one.arm]):.1f} points with {one.name}"
        for one in over_steps
        if one.arm in alone and k > 1
    ]
    ending = f"; at the end, {k} answers instead of one are worth {listed(gains)}" if gains else ""
    return f"pass@{k} {changes(over_steps, percent)}{ending}."


def _against_k(found: Sequence[Sequence[Series]]) -> Figure:
    by_arm: dict[int, list[Series]] = {}
    for per_size in found:
        for one in per_size:
            by_arm.setdefault(one.arm, []).append(one)
    traces = [_curve(group, end=end) for group in by_arm.values() for end in (False, True)]
    ticks = {"tickvals": [int(per_size[0].key[5:]) for per_size in found if per_size], "type": "log"}
    return Figure(
        "pass@k against k, first and last evaluation",
        traces,
        layout("k, answers per problem", PERCENT, xaxis=ticks, yaxis={"rangemode": "normal"}),
        [(arm, group[0].name) for arm, group in by_arm.items()],
    )


def _curve(group: Sequence[Series], *, end: bool) -> dict[str, Any]:
    arm, name = group[0].arm, group[0].name
    shade = color(arm, 1.0 if end else 0.55)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [int(one.key[5:]) for one in group],
        "y": [one.last if end else one.first for one in group],
        "name": plotted(f"{name}, {'end' if end else 'start'}"),
        "line": {"color": shade, "width": 2 if end else 1, "dash": dash(arm)},
        "marker": {"color": shade, "size": 7, "symbol": symbol(arm) + ("" if end else "-open")},
        "hovertemplate": "%{y:.1%}",
    }
