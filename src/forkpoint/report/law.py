"""The exchange law: held-out accuracy against entropy, the fitted curve, and the ceiling where entropy is spent."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from forkpoint.forecasts import Fit, History, Refusal, forecast, history_of
from forkpoint.record import RecordError
from forkpoint.record.read import Run
from forkpoint.report._plot import PERCENT, color, layout, symbol
from forkpoint.report._section import Figure, Section, Table
from forkpoint.report._series import arm_names, definitions
from forkpoint.report._text import number, percent, plotted, sentence

ORDER = 70
ALIKE = 0.01
"""difference of R² below which two fits are called alike"""


class Arm(NamedTuple):
    """A run's points, and its fits (the law first) or why there are none."""

    arm: int
    name: str
    history: History | None
    fits: Sequence[Fit]
    refusal: str


def law(runs: Sequence[Run]) -> Section | None:
    """None where no run holds both columns. A run the law is not claimed for is drawn as points, with the reason."""
    arms = read_arms(runs)
    if not arms:
        return None
    return Section(
        "Law",
        _finding(arms),
        [_figure(arms)] if any(arm.history for arm in arms) else [],
        definitions(runs, "accuracy", "entropy/full_sequence_mean"),
        "Training moves to the right, toward zero entropy. Curve: the law. Bar at zero: its ceiling with the interval.",
        Table(["run", "step", "entropy", "accuracy"], [row for arm in arms for row in _rows(arm)]),
        [f"{arm.name} has no fit: {arm.refusal}." for arm in arms if arm.refusal],
        template="fits.html.jinja",
        content=_fits(arms),
    )


def read_arms(runs: Sequence[Run]) -> list[Arm]:
    """Runs that recorded evaluations of accuracy and entropy."""
    named = enumerate(zip(runs, arm_names(runs), strict=True))
    return [one for arm, (run, name) in named if (one := _read(arm, name, run)) is not None]


def _read(arm: int, name: str, run: Run) -> Arm | None:
    history: History | None = None
    try:
        history = history_of(run)
        return Arm(arm, name, history, forecast(run), "")
    except RecordError:
        return None
    except Refusal as refusal:
        return Arm(arm, name, history, (), str(refusal).removeprefix(f"{run.name}: "))


def _finding(arms: Sequence[Arm]) -> str:
    clauses = [_clause(arm) for arm in arms if arm.fits]
    return sentence("; ".join(clauses) or "the law is not fitted here, because no run meets its conditions")


def _clause(arm: Arm) -> str:
    """The ceiling with its interval, and whether a baseline that knows no law fits as well."""
    first, *baselines = arm.fits
    best = max(baselines, key=lambda fit: fit.r2)
    fitted = f"with {arm.name}, the law {first.formula} fits with R² {number(first.r2)}"
    text = f"{fitted} and puts the ceiling at {_ceiling(first)}"
    baseline = f"the {spoken(best.name)} baseline"
    if best.r2 > first.r2 - ALIKE:
        return f"{text}; {baseline} fits as well (R² {number(best.r2)}), so the fit alone does not prove the law"
    return f"{text}; {baseline} comes next with R² {number(best.r2)}"


def _ceiling(fit: Fit) -> str:
    if fit.ceiling is None:
        return "no value"
    if fit.ceiling_interval is None:
        return percent(fit.ceiling)
    low, high, level = fit.ceiling_interval
    return f"{percent(fit.ceiling)} ({level:.0%} interval {percent(low)} to {percent(high)})"


def spoken(name: str) -> str:
    return name.replace("_", " ")


def _fits(arms: Sequence[Arm]) -> tuple[str, Table]:
    rows = [
        [
            arm.name,
            spoken(fit.name),
            fit.formula,
            number(fit.r2),
            number(fit.rmse, 4),
            _ceiling(fit),
            str(fit.num_points),
        ]
        for arm in arms
        for fit in arm.fits
    ]
    return "The law beside baselines", Table(["run", "forecast", "formula", "R²", "RMSE", "ceiling", "points"], rows)


def _rows(arm: Arm) -> list[list[str]]:
    if arm.history is None:
        return []
    columns = zip(arm.history.step, arm.history.entropy, arm.history.reward, strict=True)
    return [[arm.name, f"{step:.0f}", f"{entropy:.4f}", f"{reward:.4f}"] for step, entropy, reward in columns]


def _figure(arms: Sequence[Arm]) -> Figure:
    traces = [trace for arm in arms if arm.history for trace in _traces(arm, arm.history)]
    return Figure(
        "Accuracy on held-out problems, against entropy",
        traces,
        layout(
            "entropy, nats (mean over answers of token means)",
            PERCENT,
            xaxis={"autorange": "reversed", "rangemode": "tozero"},
            yaxis={"rangemode": "normal"},
            hovermode="closest",
        ),
    )


def _traces(arm: Arm, history: History) -> list[dict[str, Any]]:
    return [_points(arm, history), *([_curve(arm, history), _bar(arm)] if arm.fits else [])]


def _points(arm: Arm, history: History) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": history.entropy.tolist(),
        "y": history.reward.tolist(),
        "text": [f"step {step:.0f}" for step in history.step],
        "name": plotted(arm.name),
        "marker": {"color": color(arm.arm), "size": 8, "symbol": symbol(arm.arm)},
        "hovertemplate": "%{text}: entropy %{x:.3f}, accuracy %{y:.1%}",
    }


def _curve(arm: Arm, history: History) -> dict[str, Any]:
    """The law from the first entropy down to zero; the part beyond the points is what it forecasts."""
    entropy = np.linspace(float(history.entropy.max()), 0.0, 60)
    reward = arm.fits[0].predict(History(np.arange(60.0), entropy, np.zeros(60)))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": entropy.tolist(),
        "y": reward.tolist(),
        "line": {"color": color(arm.arm, 0.8), "width": 1.5},
        "hoverinfo": "skip",
    }


def _bar(arm: Arm) -> dict[str, Any]:
    first = arm.fits[0]
    error = None
    if first.ceiling is not None and first.ceiling_interval is not None:
        low, high, _ = first.ceiling_interval
        above, below = [high - first.ceiling], [first.ceiling - low]
        error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": color(arm.arm)}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [0.0],
        "y": [first.ceiling],
        "cliponaxis": False,
        "error_y": error or {},
        "name": plotted(f"{arm.name}, ceiling"),
        "marker": {"color": color(arm.arm), "size": 11, "symbol": "line-ew-open", "line": {"width": 3}},
        "hovertemplate": f"ceiling {_ceiling(first)}",
    }
