"""Two phases of training: execution settles first, then planning spreads; with the step where each curve bends."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from forkpoint.record.read import Run
from forkpoint.report._change_point import FEWEST, ChangePoint, change_point
from forkpoint.report._plot import color, panel, symbol
from forkpoint.report._rise import Rise, rise
from forkpoint.report._section import Figure, Section
from forkpoint.report._series import Series, changes, definitions, remarks, series, step_table
from forkpoint.report._text import listed, number, sentence

ORDER = 55
ENTROPY, SAMPLED, PLANNING = "entropy/full/execution", "entropy/sampled/execution", "diversity/strategies_miller_madow"
PERPLEXITY = "perplexity, execution"
TITLES = {
    ENTROPY: "Execution tokens: entropy, nats",
    PERPLEXITY: "Execution tokens: perplexity of what was sampled",
    PLANNING: "Planning: entropy of the kinds of planning runs, nats",
}
CAPTION = (
    "Read at training steps; ends in the sentence are means of the first and the last tenth. A mark with a bar is "
    "where two lines that meet fit better than one, with its 95% interval, by a bootstrap with the curve's own "
    "correlation from step to step; no mark where one line does as well. Two phases: the slope of execution entropy "
    "before its change point is below 0 with its 95% interval, and after it at most half as steep; and of the steps "
    "from there on, the last third has a higher mean of planning entropy than the first, by a difference whose 95% "
    "interval, by such a bootstrap, is above 0. What planning did before is not asked. The axis of perplexity begins "
    "at 1."
)
Bends = dict[tuple[str, int], ChangePoint | None]


def two_phases(runs: Sequence[Run]) -> Section | None:
    """None where no run recorded both execution entropy and the diversity of planning."""
    found = {key: series(runs, key, "train") for key in (ENTROPY, PLANNING)}
    if not found[ENTROPY] or not found[PLANNING]:
        return None
    if sampled := [_perplexity(one) for one in series(runs, SAMPLED, "train")]:
        found = {ENTROPY: found[ENTROPY], PERPLEXITY: sampled, PLANNING: found[PLANNING]}
    flat = [one for group in found.values() for one in group]
    bends: Bends = {(one.key, one.arm): change_point(one.steps, one.values) for one in flat}
    return Section(
        "Two phases",
        _finding(found, bends),
        [_figure(key, group, bends) for key, group in found.items()],
        definitions(runs, ENTROPY, SAMPLED, PLANNING),
        CAPTION,
        step_table(flat, [f"{TITLES[one.key].partition(':')[0]}, {one.key}, {one.name}" for one in flat]),
        remarks(runs, [one for one in flat if one.key != PERPLEXITY]),
    )


def _perplexity(one: Series) -> Series:
    """exp of the sampled entropy: the perplexity that the sampling policy gives its own tokens."""
    return replace(one, key=PERPLEXITY, values=[_exp(value) for value in one.values])


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _figure(key: str, group: Sequence[Series], bends: Bends) -> Figure:
    # a policy that is sure of every token has a perplexity of 1, and none has less
    top = max(value for one in group for _, value in one.finite)
    drawn = panel(TITLES[key], group, y_range=[1.0, 1 + 1.06 * (top - 1)] if key == PERPLEXITY and top > 1 else None)
    marks = [_mark(one, bend) for one in group if (bend := bends[one.key, one.arm]) is not None]
    return replace(drawn, traces=[*drawn.traces, *marks])


def _mark(one: Series, bend: ChangePoint) -> dict[str, Any]:
    _, value = min(one.finite, key=lambda point: abs(point[0] - bend.step))
    bar = {"type": "data", "symmetric": False, "array": [bend.high - bend.step], "arrayminus": [bend.step - bend.low]}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [bend.step],
        "y": [value],
        "error_x": bar | {"color": color(one.arm), "thickness": 2, "width": 5},
        "marker": {"color": color(one.arm), "size": 11, "symbol": f"{symbol(one.arm)}-open"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _finding(found: dict[str, list[Series]], bends: Bends) -> str:
    """Where each curve bends and how it goes on; two phases only where execution settles and planning then rises."""
    if all(len(one.finite) < FEWEST for one in [*found[ENTROPY], *found[PLANNING]]):
        return sentence(f"fewer than {FEWEST} training steps do not tell a phase from noise")
    clauses = [f"execution entropy {changes([_ends(one) for one in found[ENTROPY]], number, ' nats')}"]
    clauses.append(_bends(found[ENTROPY], bends, "it"))
    # no verb of rising here: these ends have no interval, and the clause on the rise has
    clauses.append(f"planning entropy went {listed([_went(_ends(one)) for one in found[PLANNING]])}")
    clauses.append(_bends(found[PLANNING], bends, "that"))
    planning = {one.arm: one for one in found[PLANNING]}
    both: list[str] = []
    for one in found[ENTROPY]:
        settled = settled_at(bends[one.key, one.arm])
        if settled is not None and one.arm in planning:
            risen = rise_since(settled, planning[one.arm])
            clauses.append(f"since execution settled at step {settled:.0f}, {_risen(risen)} with {one.name}")
            both += [one.name] if risen is not None and risen.rose else []
    shown = f"that is the order of two phases with {listed(both)}" if both else "no run shows two phases in that order"
    return sentence("; ".join([*clauses, shown]))


def settled_at(execution: ChangePoint | None) -> float | None:
    """The step up to which execution entropy falls (95 % interval below 0) and then goes half as steeply or less."""
    if execution is None or execution.before_ends[1] >= 0 or abs(execution.after) > 0.5 * abs(execution.before):
        return None
    return execution.step


def rise_since(settled: float, planning: Series) -> Rise | None:
    """Of planning entropy over the steps since then, in nats; None where these are too few."""
    later = [(step, value) for step, value in planning.finite if step >= settled]
    return rise([step for step, _ in later], [value for _, value in later])


def _risen(risen: Rise | None) -> str:
    if risen is None:
        return f"planning has fewer than {FEWEST} steps, too few to tell a rise from noise,"
    by = f"by {number(risen.by)} [{number(risen.low)}, {number(risen.high)}] nats"
    return f"planning entropy rose {by}" if risen.rose else f"planning entropy did not rise measurably ({by})"


def _went(ends: Series) -> str:
    return f"from {number(ends.first)} to {number(ends.last)} nats with {ends.name}"


def _ends(one: Series) -> Series:
    """Means of the first and of the last tenth: one training batch tells little."""
    values = [value for _, value in one.finite]
    tenth = max(1, len(values) // 10)
    means = [sum(part) / tenth for part in (values[:tenth], values[-tenth:])]
    return replace(one, steps=[one.steps[0], one.steps[-1]], values=means)


def _bends(group: Sequence[Series], bends: Bends, word: str) -> str:
    return f"{word} " + listed([_bend(one, bends[one.key, one.arm]) for one in group])


def _bend(one: Series, bend: ChangePoint | None) -> str:
    if bend is None:
        return f"has no change point with {one.name}"
    turn = "flattens" if abs(bend.after) < abs(bend.before) else "steepens"
    level = turn == "flattens" and bend.after_ends[0] <= 0 <= bend.after_ends[1]
    if bend.after * bend.before <= 0 and not level:
        turn = "turns up" if bend.after > bend.before else "turns down"
    return f"{turn} at step {bend.step:.0f} [{bend.low:.0f}, {bend.high:.0f}] with {one.name}"
