"""The two failures as rows of tables, for the terminal and the page alike."""

import math
from collections.abc import Callable, Sequence

from forkpoint.probes import Value
from forkpoint.recipes._failures_summary import ENOUGH, Cell, Crossing, Reach, Spread, Summary, uneven
from forkpoint.report._text import number, percent

HEADS = {
    "reach": ("model", "k", "pass@k", "interval", "change", "interval"),
    "spread": (
        *("model", "thinking", "tokens", "accuracy", "interval", "answer entropy", "interval", "no answer", "cut off"),
    ),
    "cells": ("model", "at inference", "accuracy", "interval", "tokens", "not as free"),
    "crossings": ("question", "change", "interval", "answer"),
}
NAMES = {
    "long": "one long thought",
    "free": "one free thought",
    "stop": "one, stopped early",
    "votes": "votes of free ones",
}


def tables(found: Summary) -> dict[str, list[list[str]]]:
    """Rows by the name of their head."""
    return {
        "reach": reach_cells(found.reach),
        "spread": spread_cells(found.spread),
        "cells": cell_cells(found.cells),
        "crossings": crossing_cells(found.crossings),
    }


def reach_cells(found: Sequence[Reach]) -> list[list[str]]:
    return [
        [one.arm, str(one.k), shown(one.passes, percent), interval(one.passes), *change(one.change)] for one in found
    ]


def spread_cells(found: Sequence[Spread]) -> list[list[str]]:
    return [
        [
            *(one.arm, one.way, f"{one.thinking:.1f}", shown(one.accuracy, percent), interval(one.accuracy)),
            *(shown(one.entropy), interval(one.entropy), shown(one.no_answer, percent), percent(one.cut)),
        ]
        for one in found
    ]


def cell_cells(found: Sequence[Cell]) -> list[list[str]]:
    return [
        [
            *(one.arm, NAMES[one.lever], shown(one.accuracy, percent), interval(one.accuracy), f"{one.tokens:.1f}"),
            percent(one.changed) if math.isfinite(one.changed) else "–",
        ]
        for one in found
    ]


def crossing_cells(found: Sequence[Crossing]) -> list[list[str]]:
    return [[one.asked, *change(one.change), verdict(one)] for one in found]


def warning(found: Summary) -> str:
    """What a reader of the crossings must know beside them; nothing where there is no such thing."""
    spent = {one.arm: one.tokens for one in found.cells if one.lever == "votes"}
    return uneven(spent["after"], spent["kept"]) if found.crossings else ""


def change(value: Value | None) -> tuple[str, str]:
    return ("–", "–") if value is None else (shown(value), interval(value))


def verdict(one: Crossing) -> str:
    if one.change.problems < ENOUGH:
        return "too few problems"
    return "not to be told" if not one.sure else "yes, up" if one.change.value > 0 else "yes, down"


def shown(value: Value, form: Callable[[float], str] = number) -> str:
    """A dash where it is of no problem."""
    return form(value.value) if value.problems else "–"


def interval(value: Value) -> str:
    if not value.problems:
        return "–"
    return f"{number(value.low)}\u00a0to\u00a0{number(value.high)}"
