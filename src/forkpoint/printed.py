"""Fits, backtests, runs and shares as lines of a terminal: what ``forecast``, ``ls`` and ``methods --tokens`` print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forkpoint import alarms, forecasts, terminal
from forkpoint.doses import Dose
from forkpoint.forecasts import Backtest, Fit
from forkpoint.record import RecordError, Run, read


def fits(found: Sequence[Fit]) -> None:
    columns = ("forecast", "formula", "parameters", "ceiling", "interval", "R²", "rmse", "points")
    terminal.table(columns, [_fit_cells(fit) for fit in found], right=columns[3:])
    for fit in found:
        if fit.note:
            terminal.say(f"{fit.name}: {fit.note}")


def _fit_cells(fit: Fit) -> list[object]:
    ceiling, r2, rmse = terminal.number(fit.ceiling), terminal.number(fit.r2), terminal.number(fit.rmse, 4)
    interval = terminal.interval(fit.ceiling_interval)
    return [fit.name, fit.formula, _pairs(fit.parameters), ceiling, interval, r2, rmse, fit.num_points]


def backtest_of(run: Run) -> Backtest | str:
    """The backtest, or why a run that can be fitted cannot be tested yet."""
    try:
        return forecasts.backtest(forecasts.history_of(run))
    except forecasts.Refusal as reason:
        return f"no backtest: {reason}"


def sentence(backtest: Backtest) -> str:
    scores = [
        f"{t.fit.name} rmse {terminal.number(t.rmse, 4)}, last {t.final_error:+.4f}, {t.covered:.0%} in its interval"
        for t in backtest.tests
    ]
    parts = f"{len(backtest.fitted)} evaluations fitted, {len(backtest.rest)} later ones predicted"
    return f"backtest: {parts} from the entropy that came: {'; '.join(scores)}"


def row(folder: Path) -> dict[str, Any]:
    """One line of ``ls``; a run that cannot be read is listed as damaged, so that it hides no other."""
    cells: dict[str, Any] = dict.fromkeys(("run", "method", "task", "steps", "state", "accuracy", "entropy", "alarms"))
    cells["run"] = str(folder)
    try:
        run = read.open_run(folder)
        cells |= {"method": run.header["method"].get("name"), "task": run.header["task"], "steps": run.steps}
        cells |= {"accuracy": _last(run, "accuracy"), "entropy": _last(run, "entropy/full")}
        cells["alarms"] = len(alarms.recorded(run.metrics("train")))
        cells["state"] = run.status.get("state")
    except RecordError as error:
        terminal.note(f"forkpoint: {error}")
        cells["state"] = "damaged"
    return cells


def _last(run: Run, key: str) -> float | None:
    """The last held-out reading, or where nothing was held out the last of training."""
    kind = next((kind for kind in ("eval", "train") if key in run.columns(kind)), None)
    return None if kind is None else float(run.column(key, kind)[1][-1])


def _pairs(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items())


def shares(method: str, tokens: int, found: Sequence[Dose], notes: Sequence[tuple[str, str]]) -> None:
    """The tokens of a method's shares, what is likely to be wrong with them, and what is said of its other numbers."""
    if found:
        columns = ("setting", "value", "published", f"tokens of {tokens}", "share")
        rows = [(d.setting, f"{d.value:g}", f"{d.paper:g}", d.tokens, f"{100 * d.real_share:.3g} %") for d in found]
        terminal.table(columns, rows, right=columns[1:])
    else:
        terminal.say(f"{method} takes no share of the step's tokens")
    for dose in found:
        if dose.note:
            terminal.note(f"forkpoint: warning: {dose.note}")
    for setting, sentence in notes:
        terminal.say(f"{setting}: {sentence}")
