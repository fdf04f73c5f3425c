"""How far some runs are, on stderr while they train; silent where stderr is no terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from forkpoint import alarms
from forkpoint.config import RunConfig
from forkpoint.record import RecordError, Run, open_run
from forkpoint.terminal import visible

Show = Callable[[Sequence[RunConfig]], None]


@contextmanager
def display() -> Iterator[Show | None]:
    """A function to call now and then with the runs' configs; None where there is nobody to see it."""
    if not sys.stderr.isatty():
        yield None
        return
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda configs: live.update(_lines(configs), refresh=True)


@contextmanager
def counter(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A function to call with (done, asked); None where there is nobody to see it."""
    if not sys.stderr.isatty():
        yield None
        return
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda done, asked: live.update(Text(f"{done} of {asked} {what}"), refresh=True)


def line(config: RunConfig) -> str:
    """One run in one line: step of steps, last accuracy and entropy, alarms and what the newest says."""
    if not (config.folder / "run.json").exists():
        return f"{config.title}  waiting"
    try:
        run = open_run(config.folder)
        return f"{config.title}  step {run.steps} of {config.steps}{_readings(run)}{_alarms(run)}"
    except RecordError as error:
        return f"{config.title}  {error}"


def change(run: Run) -> str:
    """What a run changed between its first and last evaluation, in one line; entropies in nats."""
    shown = {"accuracy": "accuracy", "pass@8": "pass@8", "entropy": "entropy/full", "at forks": "entropy/full/fork"}
    told = []
    for name, key in shown.items():
        if key in run.columns("eval"):
            _, values = run.column(key, "eval")
            told.append(f"{name} {values[0]:.3f} -> {values[-1]:.3f}")
    return f"{run.name}: {', '.join(told)}"


def _lines(configs: Sequence[RunConfig]) -> Table:
    grid = Table.grid()
    for config in configs:
        # Text, not str: a run's name must not be read as markup
        grid.add_row(Text(visible(line(config))))
    return grid


def _readings(run: Run) -> str:
    shown = {"accuracy": ("accuracy", "eval"), "entropy": ("entropy/full", "train")}
    present = {name: run.column(key, kind)[1] for name, (key, kind) in shown.items() if key in run.columns(kind)}
    return "".join(f"  {name} {values[-1]:.3f}" for name, values in present.items())


def _alarms(run: Run) -> str:
    found = alarms.recorded(run.metrics("train"))
    if not found:
        return ""
    step, name = found[-1]
    return f"  {len(found)} alarm{'s' if len(found) > 1 else ''}, at step {step}: {alarms.meaning(name)}"
