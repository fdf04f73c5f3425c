"""The two failures as one page: what training took, what longer thinking adds, which lever is whose, both crossed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from forkpoint.policies import short_name
from forkpoint.probes._toy_model import Inflation, expected_reward, gaussian_variance
from forkpoint.recipes._failures_cells import (
    HEADS,
    NAMES,
    cell_cells,
    crossing_cells,
    interval,
    reach_cells,
    shown,
    spread_cells,
    verdict,
    warning,
)
from forkpoint.recipes._failures_summary import Spread, Summary, one_model, unjudged
from forkpoint.recipes.decode import as_json
from forkpoint.recipes.failures import Arm, Failures
from forkpoint.report._plot import NUMBER, PERCENT, band, color, dash, layout, symbol
from forkpoint.report._section import Figure, Section, Table
from forkpoint.report._text import listed, number, percent, plotted, sentence
from forkpoint.report.page import page_of

TITLE = "Two failures, and whose lever is whose"
LEDE = (
    "Training can take variety that a model needs; longer thinking can add variety that it does not. This page "
    "measures both on the same problems, and tests whose remedy is whose."
)
OPEN = "table.html.jinja"
BANDS = "Bands are 95% bootstrap intervals over problems."
COLLAPSE = (
    f"pass@k without bias, of completions at temperature 1. Collapse shows as entropy that falls while the largest k "
    f"gains less than k = 1, or loses (arXiv:2505.22617). Entropies by role are of eight completions of at most 32 "
    f"problems. {BANDS}"
)
INFLATION = (
    "Thinking is free, or kept from ending once or several times by what the model writes to go on, such as Wait. "
    "Inflation shows as answers that spread, or stop coming, while accuracy falls (arXiv:2506.04210). A completion "
    "without an answer is a class of its own in the entropy; one that its limit of tokens ended is cut off. "
    f"Open marks are thoughts of exact length. {BANDS}"
)
FIT = (
    "The toy model of arXiv:2506.04210: accuracy = scale (2 pi (s² + v))^-1/2 exp(-d² / 2(s² + v)), least squares, "
    "with v = exp(2H) / (2 pi e) of the answer entropy H: a scale for a spread, and no measurement of a variance."
)
LEVERS = [
    [
        "training collapse",
        "entropy falls, pass@k at large k flat or down",
        "kl_cov, clip_cov, fork_thermostat, forking_tokens, a higher clip (dapo); branching rollouts",
        "a higher temperature at inference alone: noise, not answers that training removed",
    ],
    [
        "inference inflation",
        "answer entropy or missing answers rise with forced thinking, accuracy falls",
        "parallel_vote; entropy_stop, Cold Stop in soft_thinking; deep_confidence",
        "budget_forcing with more waits",
    ],
]
LEVERS_HEAD = ("failure", "signal", "levers here", "what does not help")
LEVERS_SAID = (
    "As publications have it, each lever acts where its failure arises. The two were measured in different papers "
    "(arXiv:2505.22617, arXiv:2506.04210); that they are independent is nobody's result"
)
BELOW, NOT_TESTED = ", and is tested below", "; a third model, trained with its entropy kept, would test it"
CROSSED = (
    "Accuracy of the answer, with 95% bootstrap intervals over problems. Votes are for no more tokens than the long "
    "thought spent in the mean; tokens count what was generated and read again. Not as free: completions that are "
    "others than in free thinking, with the same draws; an early stop that ends nothing leaves all as they are."
)
TESTED = (
    "Differences, and differences of differences, problem by problem, with 95% bootstrap intervals over problems; what "
    "another training run would give is not in them. Votes draw from the model as it is, so that they cannot change "
    "its pass@k. An interval that holds 0 is no proof of independence: see how wide it is."
)


def failures_page(asked: Failures, arms: Sequence[Arm], found: Summary) -> str:
    """The page as HTML: self-contained, inert."""
    names = [f"{arm.name}: {short_name(arm.model)}" for arm in arms]
    said = LEVERS_SAID + (BELOW if found.crossings else NOT_TESTED)
    made = {
        "collapse": _collapse(arms, names, found),
        "inflation": _inflation(names, found, [arm.name for arm in arms]),
        "levers": Section("Levers", sentence(said), template=OPEN, content=Table(LEVERS_HEAD, LEVERS)),
        "crossed": _crossed(found),
        "tested": _tested(found),
        "asked": _asked(asked, arms),
    }
    return page_of(TITLE, LEDE, names, [(name, section) for name, section in made.items() if section is not None])


def _collapse(arms: Sequence[Arm], names: Sequence[str], found: Summary) -> Section:
    curves = [[(one.k, one.passes) for one in found.reach if one.arm == arm.name] for arm in arms]
    ticks = sorted({k for curve in curves for k, _ in curve})
    axis = {"type": "log", "tickvals": ticks, "ticktext": [str(k) for k in ticks]}
    traces = [trace for arm, curve in enumerate(curves) for trace in band(arm, names[arm], curve, PERCENT)]
    drawn = layout("k, samples per problem", PERCENT, [0.0, 1.02], xaxis=axis)
    figure = Figure("pass@k: any of k is right", traces, drawn, list(enumerate(names)))
    roles = list(dict.fromkeys(role for arm in arms for role in arm.roles))
    rows = [[role, *(number(arm.roles[role]) if role in arm.roles else "–" for arm in arms)] for role in roles]
    return Section(
        "What training took",
        sentence("; ".join(_lost(arms[0], arm, found) for arm in arms[1:])),
        [figure],
        caption=COLLAPSE,
        notes=[*one_model(arms), *unjudged(arms)],
        table=Table(HEADS["reach"], reach_cells(found.reach)),
        template=OPEN,
        content=Table(["entropy, nats", *names], rows),
    )


def _lost(before: Arm, arm: Arm, found: Summary) -> str:
    own = [one for one in found.reach if one.arm == arm.name]
    if not own:
        return f"{arm.name}: no completion got a verdict, of this model or of the one before"
    ends = [("accuracy", own[0].change), (f"pass@{own[-1].k}", own[-1].change)]
    changes = [f"{what} by {shown(by)} ({interval(by)})" for what, by in ends if by is not None]
    spent = ""
    if before.roles["all"] > 0:
        spent = f"left {percent(arm.roles['all'] / before.roles['all'])} of the entropy, "
    return f"{arm.name}: training {spent}changed {listed(changes)}"


def _inflation(names: Sequence[str], found: Summary, arms: Sequence[str]) -> Section:
    by_arm = [[one for one in found.spread if one.arm == arm] for arm in arms]
    told = [f"{arm}: {_inflated(own)}" for arm, own in zip(arms, by_arm, strict=True)]
    share = layout("tokens of thinking, mean", PERCENT, [0.0, 1.02])
    traces = {
        key: [trace for arm, own in enumerate(by_arm) for trace in _drawn(arm, names[arm], own, (key, form))]
        for key, form in (("accuracy", PERCENT), ("entropy", NUMBER))
    }
    fits = [one for arm, own in enumerate(by_arm) for one in _fitted(arm, names[arm], own, found.curves[arms[arm]])]
    panels = [
        ("Accuracy of one completion", traces["accuracy"], share),
        ("Answer entropy, nats", traces["entropy"], layout("tokens of thinking, mean", NUMBER)),
        ("Accuracy against spread, and the toy model", fits, layout("v of the answer entropy", PERCENT)),
    ]
    figures = [Figure(title, drawn, axes, list(enumerate(names))) for title, drawn, axes in panels]
    notes = [f"Toy model, {arm}: {_identified(found.curves[arm])}." for arm in arms]
    table = Table(HEADS["spread"], spread_cells(found.spread))
    finding = sentence("; ".join(told))
    return Section(
        "What longer thinking adds", finding, figures, caption=f"{INFLATION} {FIT}", table=table, notes=notes
    )


def _inflated(own: Sequence[Spread]) -> str:
    free = next(one for one in own if one.way == "free")
    last = max((one for one in own if one.way.startswith("wait-")), key=lambda one: int(one.way.removeprefix("wait-")))
    return (
        f"from {free.thinking:.0f} tokens of thinking to {last.thinking:.0f} ({last.way}), accuracy goes from "
        f"{shown(free.accuracy, percent)} to {shown(last.accuracy, percent)}, answer entropy from "
        f"{number(free.entropy.value)} to {number(last.entropy.value)} nats, and completions without an answer from "
        f"{percent(free.no_answer.value)} to {percent(last.no_answer.value)}"
    )


def _drawn(arm: int, name: str, own: Sequence[Spread], shown: tuple[str, str]) -> list[dict[str, Any]]:
    key, form = shown
    waits = [(round(one.thinking), getattr(one, key)) for one in own if not one.way.startswith("think-")]
    exact = [one for one in own if one.way.startswith("think-")]
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": [one.thinking for one in exact],
        "y": [getattr(one, key).value for one in exact],
        "name": f"{plotted(name)}, exact length",
        "marker": {"color": color(arm), "size": 9, "symbol": f"{symbol(arm)}-open"},
        "hovertemplate": f"%{{y:{form}}}",
    }
    return [*band(arm, name, waits, form), *([marks] if exact else [])]


def _fitted(arm: int, name: str, own: Sequence[Spread], curve: Inflation) -> list[dict[str, Any]]:
    waits = [one for one in own if not one.way.startswith("think-")]
    spread = [gaussian_variance(one.entropy.value) for one in waits]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": spread,
        "y": [one.accuracy.value for one in waits],
        "text": [one.way for one in waits],
        "name": plotted(name),
        "marker": {"color": color(arm), "size": 8, "symbol": symbol(arm)},
        "hovertemplate": f"{plotted(name)}, %{{text}}: %{{y:.1%}}<extra></extra>",
    }
    if not np.isfinite(curve.scale):
        return [points]
    at = np.linspace(min(spread), max(spread), 60)
    fitted = curve.scale * np.asarray(expected_reward(curve.gap, curve.reward_deviation**2, at))
    line = {"color": color(arm), "width": 1, "dash": dash(arm)}
    drawn = {
        "type": "scatter",
        "mode": "lines",
        "x": at.tolist(),
        "y": fitted.tolist(),
        "line": line,
        "hoverinfo": "skip",
    }
    return [points, drawn | {"name": f"{plotted(name)}, toy model"}]


def _identified(curve: Inflation) -> str:
    if curve.note:
        return curve.note
    return f"accuracy is highest at v = {number(curve.peak)}, residual {number(curve.rmse)}"


def _crossed(found: Summary) -> Section:
    told: dict[str, list[str]] = {}
    for one in found.cells:
        clause = f"{NAMES[one.lever]} {shown(one.accuracy, percent)} for {one.tokens:.0f} tokens"
        told.setdefault(one.arm, []).append(clause)
    said = sentence("; ".join(f"{arm}: {listed(clauses)}" for arm, clauses in told.items()))
    content = Table(HEADS["cells"], cell_cells(found.cells))
    title = "Both levers, crossed" if found.crossings else "What each way to spend tokens gives after training"
    return Section(title, said, caption=CROSSED, template=OPEN, content=content)


def _tested(found: Summary) -> Section | None:
    if not found.crossings:
        return None
    touched = [one for one in found.crossings if one.asked.startswith("Other side") and one.sure]
    said = "neither lever is sure to touch the failure of the other side"
    if touched:
        clauses = [f"{one.asked.removeprefix('Other side: does ').rstrip('?')}: {verdict(one)}" for one in touched]
        said = f"a lever touches the failure of the other side ({listed(clauses)})"
    content = Table(HEADS["crossings"], crossing_cells(found.crossings))
    title = "Does either touch the other failure?"
    caption = f"{TESTED} {warning(found)}".strip()
    return Section(title, sentence(said), caption=caption, template=OPEN, content=content)


def _asked(asked: Failures, arms: Sequence[Arm]) -> Section:
    rows = [[key.replace("_", " "), words(value)] for key, value in as_json(asked).items()]
    rows += [[f"early stop at, {arm.name}", f"{number(arm.threshold, 4)} nats"] for arm in arms]
    said = "All completions and verdicts are beside this page."
    return Section("What was asked", said, template=OPEN, content=Table(["", "asked"], rows))


def words(value: Any) -> str:
    """What was asked, as a reader has it and not as Python writes it.

    >>> words(["a", "b"]), words({"window": 8.0, "again": ""}), words([]), words(None), words(False), words(3)
    ('a, b', 'window 8, again none', 'none', 'not given', 'no', '3')
    """
    if isinstance(value, Mapping):
        return words([f"{key.replace('_', ' ')} {words(each)}" for key, each in value.items()])
    if isinstance(value, list):
        return ", ".join(map(words, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "not given" if value is None else str(value) or "none"
