"""Plotly traces and axes as plain data. Color is the arm; dash and marker say it again for who sees no color."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

from forkpoint.report._section import Figure
from forkpoint.report._series import Series
from forkpoint.report._text import plotted

COLORS = 6
DASHES = ("solid", "6px,3px", "2px,3px", "10px,3px,2px,3px", "12px,3px", "1px,5px")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
PERCENT = ".0%"
NUMBER = ".3f"
HOVER = {PERCENT: ".1%"}
"""a reader who asks for one value gets a digit more than the axis has"""


def color(arm: int, opacity: float = 1.0) -> str:
    """The page's name for the color of an arm; ``--arm-0/0.5`` is half transparent.

    >>> color(0), color(7, 0.5)
    ('--arm-0', '--arm-1/0.5')
    """
    return f"--arm-{arm % COLORS}" + ("" if opacity == 1.0 else f"/{opacity:g}")


def dash(arm: int) -> str:
    """Of an arm's line; arms of one color differ in it.

    >>> color(0) == color(6), dash(0) == dash(6)
    (True, False)
    """
    return DASHES[(arm + arm // COLORS) % COLORS]


def symbol(arm: int) -> str:
    """Of an arm's points, as ``dash``."""
    return SYMBOLS[(arm + arm // COLORS) % COLORS]


def line(one: Series, *, form: str = NUMBER, name: str = "", faint: bool = False, marks: bool = True) -> dict[str, Any]:
    """One series as a line; ``faint`` is the raw data behind a smoothed line."""
    drawn = one.thinned()
    return {
        "type": "scatter",
        "mode": "lines+markers" if marks and len(drawn.steps) <= 40 else "lines",
        "x": list(drawn.steps),
        "y": list(drawn.values),
        "name": plotted(name or one.name),
        "line": {
            "color": color(one.arm, 0.3 if faint else 1.0),
            "width": 1 if faint else 2,
            "dash": "solid" if faint else dash(one.arm),
        },
        "marker": {"color": color(one.arm), "size": 6, "symbol": symbol(one.arm)},
        "hovertemplate": f"%{{y:{HOVER.get(form, form)}}}",
        "hoverinfo": "skip" if faint else "all",
    }


def band(arm: int, name: str, points: Sequence[tuple[int, Any]], form: str = NUMBER) -> list[dict[str, Any]]:
    """A line through (x, value) with a band from each value's ``low`` to its ``high``."""
    common = {"type": "scatter", "x": [x for x, _ in points], "name": plotted(name)}
    edge = common | {"mode": "lines", "line": {"width": 0, "color": color(arm, 0.2)}, "hoverinfo": "skip"}
    middle = {
        "mode": "lines+markers",
        "y": [value.value for _, value in points],
        "line": {"color": color(arm), "width": 2, "dash": dash(arm)},
        "marker": {"color": color(arm), "size": 7, "symbol": symbol(arm)},
        "hovertemplate": f"%{{y:{HOVER.get(form, form)}}}",
    }
    return [
        edge | {"y": [value.low for _, value in points]},
        edge | {"y": [value.high for _, value in points], "fill": "tonexty", "fillcolor": color(arm, 0.15)},
        common | middle,
    ]


def layout(x_title: str, form: str, y_range: Sequence[float] | None = None, **axes: Any) -> dict[str, Any]:
    """The two axes of a panel. Both are fixed, so that a finger that scrolls the page does not zoom a figure."""
    x_axis = {"title": {"text": x_title}, "unifiedhovertitle": {"text": f"{x_title} %{{x}}"}}
    y_axis = {"tickformat": form if form == PERCENT else "", "range": y_range, "rangemode": "tozero"}
    return {
        "xaxis": x_axis | axes.get("xaxis", {}),
        "yaxis": {key: value for key, value in y_axis.items() if value} | axes.get("yaxis", {}),
        **{key: value for key, value in axes.items() if key not in ("xaxis", "yaxis")},
    }


def panel(title: str, found: Sequence[Series], *, form: str = NUMBER, y_range: Sequence[float] | None = None) -> Figure:
    """Series over steps, one line per arm."""
    return Figure(
        title,
        [line(one, form=form) for one in found],
        layout("optimizer step", form, y_range),
        [(one.arm, one.name) for one in found],
    )


def common_range(found: Sequence[Series]) -> list[float]:
    """From zero (or the lowest value below it) to just above the highest: one scale for panels that are compared."""
    values = [value for one in found for _, value in one.finite]
    return [min(0.0, min(values)), max(values) * 1.06 or 1.0]


def share_range(found: Sequence[Series]) -> list[float]:
    """The tenths that hold all shares: lines may leave zero out, and their differences are what a reader compares.

    >>> share_range([Series(0, "a", "accuracy", [0, 1], [0.46, 0.69])])
    [0.4, 0.7]
    """
    values = [value for one in found for _, value in one.finite]
    low, high = floor(min(values) * 10 + 1e-9), ceil(max(values) * 10 - 1e-9)
    return [low / 10, max(high, low + 1) / 10]
