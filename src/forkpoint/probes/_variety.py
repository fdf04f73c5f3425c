"""Sections of the page: how many answers a problem gets, and how many among the right and the wrong ones."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forkpoint.probes._cells import cell, values
from forkpoint.probes._run import Probed
from forkpoint.report._plot import NUMBER, PERCENT, SYMBOLS, color, layout
from forkpoint.report._section import Figure, Section, Table
from forkpoint.report._text import listed, number, percent, plotted, sentence

PATTERNS = ("", "/", "x", ".", "-", "+")
BINS = 12
ENTROPY = "entropy of a problem's answers, nats"
ONE_ANSWER = 0.05
"""nats: nearly every sample has the same answer"""
ANSWERS = (
    "Of counts, a problem at a time; no answer is an answer of its own. Right and low in the second panel: many"
    " answers, few of them right. Left and low: one answer, and it is wrong."
)
CLUSTERS = (
    "Whiskers are intervals over problems. No answer is counted as an answer of its own. The number grows with the"
    " samples there are, so more right samples hold more"
    " different right ones; the table has the share of the most common one beside it."
)


def answers(probed: Sequence[Probed]) -> Section:
    found = [np.array(one.readings["answer_entropy"].per_problem["answer_entropy"]) for one in probed]
    edges = np.linspace(0.0, max(0.1, *(float(each.max()) for each in found)), BINS + 1)
    shares = [(np.histogram(each, edges)[0] / len(each)).tolist() for each in found]
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    bars = [_bars(arm, one.name, middles, shares[arm], "%{y:.1%}") for arm, one in enumerate(probed)]
    points = [_points(arm, one) for arm, one in enumerate(probed)]
    lines = [
        [f"{edges[i]:.2f} to {edges[i + 1]:.2f}", *(percent(each[i]) for each in shares)] for i in range(len(middles))
    ]
    clauses = [
        f"{number(float(each.mean()))} nats with {one.name} ({_alike(one, each < ONE_ANSWER)})"
        for one, each in zip(probed, found, strict=True)
    ]
    return Section(
        "Answers",
        sentence(f"the answers to one problem have an entropy of {listed(clauses)}"),
        [
            Figure("Share of problems", bars, layout(ENTROPY, PERCENT, barmode="group"), _arms(probed)),
            Figure("Accuracy, a mark per problem", points, layout(ENTROPY, PERCENT, [-0.04, 1.04]), _arms(probed)),
        ],
        caption=ANSWERS,
        table=Table(["nats", *(one.name for one in probed)], lines),
    )


def clusters(probed: Sequence[Probed]) -> Section:
    every = {name: value.unit for one in probed for name, value in one.readings["clusters"].values.items()}
    names = [name for name, unit in every.items() if unit == "clusters"]
    # a trait's name may hold a slash
    heads = [plotted(", ".join(name.removeprefix("clusters/").rsplit("/", 1))) for name in names]
    bars = [_whiskers(arm, one, names, heads) for arm, one in enumerate(probed)]
    lines = [[name, *(cell(values(one).get(name)) for one in probed)] for name in every]
    clauses = [
        f"{cell(values(one).get('clusters/answers/correct'))} different answers among its right samples and"
        f" {cell(values(one).get('clusters/answers/wrong'))} among its wrong ones{_silent(one)} with {one.name}"
        for one in probed
    ]
    drawn = layout("what is counted, among which samples", NUMBER, barmode="group")
    return Section(
        "Right and wrong apart",
        sentence(f"a problem gets {listed(clauses)}"),
        [Figure("Different ones per problem, mean", bars, drawn, _arms(probed))],
        caption=CLUSTERS,
        table=Table(["", *(one.name for one in probed)], lines),
    )


def _alike(one: Probed, alike: NDArray[np.bool_]) -> str:
    """Which share of problems nearly always gets one answer, and which none."""
    none = alike & (np.array(one.readings["answer_entropy"].per_problem["no_answer"]) > 1 / 2)
    silent = f", and {percent(float(none.mean()))} none" if none.any() else ""
    return f"{percent(float((alike & ~none).mean()))} of problems nearly always get one answer{silent}"


def _silent(one: Probed) -> str:
    """How many of the wrong samples hold no answer, which is counted as one."""
    wrong = [each.answers[i] for each in one.samples.problems for i in each.judged if each.verdicts[i] == "wrong"]
    share = wrong.count(None) / max(1, len(wrong))
    return f" ({percent(share)} of them hold none, which counts as one)" if share else ""


def _arms(probed: Sequence[Probed]) -> list[tuple[int, str]]:
    return [(arm, one.name) for arm, one in enumerate(probed)]


def _bars(arm: int, name: str, x: Sequence[Any], y: Sequence[float], hover: str) -> dict[str, Any]:
    marker = {"color": color(arm), "pattern": {"shape": PATTERNS[arm % len(PATTERNS)]}}
    return {"type": "bar", "x": x, "y": y, "name": plotted(name), "marker": marker, "hovertemplate": hover}


def _whiskers(arm: int, one: Probed, names: Sequence[str], heads: Sequence[str]) -> dict[str, Any]:
    found = [values(one).get(name) for name in names]
    up = [value.high - value.value if value else math.nan for value in found]
    down = [value.value - value.low if value else math.nan for value in found]
    error = {"type": "data", "array": up, "arrayminus": down, "color": "--muted", "thickness": 1}
    heights = [value.value if value else math.nan for value in found]
    return _bars(arm, one.name, heads, heights, "%{y:.2f}") | {"error_y": error}


def _points(arm: int, one: Probed) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(one.readings["answer_entropy"].per_problem["answer_entropy"]),
        "y": list(one.readings["pass_at_k"].per_problem["pass@1"]),
        "text": [plotted(each.id) for each in one.samples.problems],
        "name": plotted(one.name),
        "marker": {"color": color(arm, 0.6), "size": 8, "symbol": SYMBOLS[arm % len(SYMBOLS)]},
        "hovertemplate": "%{text}: %{y:.1%}",
    }
