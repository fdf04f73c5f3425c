"""Forecast against truth: fitted to the first third of a run, held against the evaluations that then came."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from forkpoint.forecasts import Backtest, Fit, History, Refusal, Tested
from forkpoint.forecasts import backtest as run_backtest
from forkpoint.record.read import Run
from forkpoint.report._plot import PERCENT, color, layout, symbol
from forkpoint.report._section import Figure, Section, Table
from forkpoint.report._series import definitions
from forkpoint.report._text import number, percent, plotted, sentence
from forkpoint.report.law import read_arms, spoken

ORDER = 80
DASHES = ("solid", "2px,3px", "8px,3px,2px,3px", "10px,4px")
"""the law first, then the baselines in the order of the table"""

CAPTION = (
    "Filled: fitted. Open: what then came. Line and band: the law with its 95% interval; gray: the baselines."
    " Each is given the entropies and steps that came, so this tests how well accuracy follows entropy, not whether"
    " entropy could be foreseen."
)


class Arm(NamedTuple):
    arm: int
    name: str
    result: Backtest | None
    refusal: str


def backtest(runs: Sequence[Run]) -> Section | None:
    """None where no run could be tested: too short, or its method acts on entropy, which the law is not claimed for."""
    arms = _arms(runs)
    tested = [(arm, arm.result) for arm in arms if arm.result is not None]
    if not tested:
        return None
    return Section(
        "Forecast",
        sentence("; ".join(_clause(arm, result) for arm, result in tested)),
        [_figure(arm, result) for arm, result in tested],
        definitions(runs, "accuracy", "entropy/full_sequence_mean"),
        CAPTION,
        Table(
            ["run", "step", "used for", "accuracy", *(spoken(test.fit.name) for test in tested[0][1].tests)],
            [row for arm, result in tested for row in _rows(arm, result)],
        ),
        [f"{arm.name} is not tested: {arm.refusal}." for arm in arms if arm.refusal],
        template="fits.html.jinja",
        content=("Errors on the evaluations it was not fitted to", _errors(tested)),
    )


def _arms(runs: Sequence[Run]) -> list[Arm]:
    """A run without a law fit may still be tested, unless its method acts on entropy."""
    arms: list[Arm] = []
    for one in read_arms(runs):
        if (runs[one.arm].header.get("method") or {}).get("intervenes"):
            arms.append(Arm(one.arm, one.name, None, "its method acts on entropy, and the law is not claimed there"))
        elif one.history is None:
            arms.append(Arm(one.arm, one.name, None, one.refusal))
        else:
            arms.append(_tested(one.arm, one.name, one.history))
    return arms


def _tested(arm: int, name: str, history: History) -> Arm:
    try:
        return Arm(arm, name, run_backtest(history), "")
    except Refusal as refusal:
        return Arm(arm, name, None, str(refusal))


def _clause(arm: Arm, result: Backtest) -> str:
    law, *baselines = result.tests
    best = min(baselines, key=lambda test: test.rmse)
    num_fitted, total = len(result.fitted), len(result.fitted) + len(result.rest)
    return (
        f"fitted to the first {num_fitted} of {total} evaluations of {arm.name}, the law is off by {_points(law.rmse)}"
        f" on the rest (root mean square) and by {_points(law.final_error, sign=True)} at the last;"
        f" the better baseline, {spoken(best.fit.name)}, by {_points(best.rmse)}"
        f" and {_points(best.final_error, sign=True)}"
    )


def _points(share: float, *, sign: bool = False) -> str:
    return ("+" if sign and share > 0 else "") + f"{number(100 * share, 1)} points"


def _errors(tested: Sequence[tuple[Arm, Backtest]]) -> Table:
    rows = [
        [
            arm.name,
            spoken(test.fit.name),
            _points(test.rmse),
            _points(test.final_error, sign=True),
            percent(test.covered),
        ]
        for arm, result in tested
        for test in result.tests
    ]
    return Table(["run", "forecast", "root mean square", "at the last", "inside the 95% interval"], rows)


def _rows(arm: Arm, result: Backtest) -> list[list[str]]:
    rows: list[list[str]] = []
    for use, part in (("fit", result.fitted), ("test", result.rest)):
        predictions = [test.fit.predict(part) for test in result.tests]
        for index in range(len(part)):
            ours = [f"{part.step[index]:.0f}", use, f"{part.reward[index]:.4f}"]
            rows.append([arm.name, *ours, *(f"{predicted[index]:.4f}" for predicted in predictions)])
    return rows


def _figure(arm: Arm, result: Backtest) -> Figure:
    law, *baselines = result.tests
    whole = History(
        *(np.concatenate(pair) for pair in zip(_columns(result.fitted), _columns(result.rest), strict=True))
    )
    lines = [_line(test, whole, "--muted", DASHES[1 + rank % 3]) for rank, test in enumerate(baselines)]
    marks = [_marks(arm, result.fitted, "fitted", ""), _marks(arm, result.rest, "what came", "-open")]
    return Figure(
        f"Accuracy on held-out problems: {arm.name}",
        [_band(arm, law.fit, result.rest), *lines, _line(law, whole, color(arm.arm), DASHES[0]), *marks],
        layout("optimizer step", PERCENT, yaxis={"rangemode": "normal"}),
        [(arm.arm, arm.name)],
    )


def _columns(history: History) -> tuple[Any, Any, Any]:
    return history.step, history.entropy, history.reward


def _band(arm: Arm, fit: Fit, rest: History) -> dict[str, Any]:
    middle, margin = fit.predict(rest), fit.margin(rest)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*rest.step.tolist(), *rest.step[::-1].tolist()],
        "y": [*(middle + margin).tolist(), *(middle - margin)[::-1].tolist()],
        "fill": "toself",
        "fillcolor": color(arm.arm, 0.15),
        "line": {"width": 0, "color": color(arm.arm)},
        "hoverinfo": "skip",
    }


def _line(test: Tested, whole: History, shade: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": whole.step.tolist(),
        "y": test.fit.predict(whole).tolist(),
        "name": plotted(spoken(test.fit.name)),
        "line": {"color": shade, "width": 1.5, "dash": dash},
        "hovertemplate": "%{y:.1%}",
    }


def _marks(arm: Arm, part: History, name: str, suffix: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": part.step.tolist(),
        "y": part.reward.tolist(),
        "name": name,
        "marker": {"color": color(arm.arm), "size": 8, "symbol": symbol(arm.arm) + suffix},
        "hovertemplate": "%{y:.1%}",
    }
