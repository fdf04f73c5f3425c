"""Reward on the training problems and accuracy on the held-out ones, over optimizer steps."""

from collections.abc import Sequence
from math import fsum, isfinite

from forkpoint.record.read import Run
from forkpoint.report._plot import PERCENT, layout, line, panel, share_range
from forkpoint.report._section import Figure, Section
from forkpoint.report._series import Series, changes, definitions, remarks, series, step_table
from forkpoint.report._text import number, percent, sentence

ORDER = 20
WINDOW = 10
"""steps in the running mean of the training reward"""


def learning(runs: Sequence[Run]) -> Section | None:
    """None where neither column was recorded."""
    reward, accuracy = series(runs, "reward", "train"), series(runs, "accuracy", "eval")
    if not reward and not accuracy:
        return None
    figures = (
        [panel("Accuracy on held-out problems", accuracy, form=PERCENT, y_range=share_range(accuracy))]
        if accuracy
        else []
    )
    return Section(
        "Learning",
        _finding(accuracy, reward),
        [*figures, *([_reward(reward)] if reward else [])],
        definitions(runs, "accuracy", "reward"),
        "The percent axis shows the range of the data."
        + (f" Reward: thin, each step; thick, mean of the last {WINDOW} steps." if reward else ""),
        step_table(
            [*accuracy, *reward],
            [*(f"accuracy, {one.name}" for one in accuracy), *(f"reward, {one.name}" for one in reward)],
        ),
        remarks(runs, [*accuracy, *reward]),
    )


def running_mean(one: Series, window: int = WINDOW) -> Series:
    """Mean of the last ``window`` finite values at each step.

    >>> list(running_mean(Series(0, "a", "reward", [1, 2, 3], [0.0, 1.0, 2.0]), window=2).values)
    [0.0, 0.5, 1.5]
    """
    means: list[float] = []
    for end in range(1, len(one.values) + 1):
        recent = [value for value in one.values[max(0, end - window) : end] if isfinite(value)]
        means.append(fsum(recent) / len(recent) if recent else float("nan"))
    return Series(one.arm, one.name, one.key, one.steps, means)


def _reward(reward: Sequence[Series]) -> Figure:
    raw = [line(one, faint=True, marks=False) for one in reward]
    smooth = [line(running_mean(one), marks=False) for one in reward]
    return Figure(
        "Reward on training problems, mean of the step",
        [*raw, *smooth],
        layout("optimizer step", ""),
        [(one.arm, one.name) for one in reward],
    )


def _finding(accuracy: Sequence[Series], reward: Sequence[Series]) -> str:
    if accuracy:
        return sentence(f"held-out accuracy {changes(accuracy, percent)}")
    smooth = [running_mean(one) for one in reward]
    return sentence(f"training reward (mean of the last {WINDOW} steps) {changes(smooth, number)}")
