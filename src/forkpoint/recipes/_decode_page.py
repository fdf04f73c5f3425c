"""A comparison of decoders as one page: accuracy against the tokens that were really spent, each decoder an arm."""

from collections.abc import Callable, Sequence
from itertools import groupby

from forkpoint.probes import Value
from forkpoint.recipes._decode_summary import Contrast, Point, contrasts, points, remarks
from forkpoint.recipes.decode import Compared
from forkpoint.report._plot import PERCENT, color, dash, layout, symbol
from forkpoint.report._section import Figure, Section, Table
from forkpoint.report._text import listed, number, percent, plotted, sentence
from forkpoint.report.page import page_of

TITLE = "What the tokens bought"
LEDE = (
    "Tokens can be spent at inference in many ways: on one long thought, on many short ones, on branches where the "
    "model hesitates. This page compares them on the same problems at equal budgets, with every token counted, kept or "
    "thrown away."
)
LEVEL = 0.05
HEAD = ("decoder", "budget", "accuracy", "interval", "tokens", "discarded", "traces", "µs per token", "cache, kB")


def decode_page(compared: Compared) -> str:
    """The page as HTML: self-contained, inert."""
    found, against = points(compared), contrasts(compared)
    made = {"accuracy": _accuracy(compared, found), "paired": _paired(compared, against), "tokens": _tokens(found)}
    shown = [(name, section) for name, section in [*made.items(), ("asked", _asked(compared))] if section is not None]
    return page_of(TITLE, LEDE, list(compared.asked.names), shown)


def cells(found: Sequence[Point]) -> list[list[str]]:
    """Rows under ``HEAD``: what the terminal and the page print."""
    return [
        [
            point.method,
            str(point.budget),
            *spread(point.accuracy, number),
            f"{point.tokens.value:.1f}",
            f"{point.discarded:.1f}",
            f"{point.traces:.1f}",
            f"{point.cpu_us:.0f}",
            f"{point.cache_bytes / 1000:.0f}",
        ]
        for point in found
    ]


def spread(value: Value, shown: Callable[[float], str]) -> tuple[str, str]:
    """A value and its interval, or dashes where it is of no problem."""
    return (shown(value.value), f"{shown(value.low)} to {shown(value.high)}") if value.problems else ("–", "–")


def contrast_cells(found: Sequence[Contrast]) -> list[list[str]]:
    return [
        [
            one.method,
            str(one.budget),
            *spread(one.difference, "{:+.3f}".format),
            str(one.better),
            str(one.worse),
            f"{one.p:.2g}",
        ]
        for one in found
    ]


def _accuracy(compared: Compared, found: Sequence[Point]) -> Section:
    budget = compared.asked.budgets[-1]
    last = [point for point in found if point.budget == budget and point.accuracy.problems]
    last.sort(key=lambda point: -point.accuracy.value)
    clauses = [f"{point.method} {percent(point.accuracy.value)} for {point.tokens.value:.0f} tokens" for point in last]
    by_method = [list(group) for _, group in groupby(found, key=lambda point: point.method)]
    traces = [_line(arm, group) for arm, group in enumerate(by_method)]
    drawn = layout("tokens per problem, mean, everything counted", PERCENT, [0.0, 1.02], hovermode="closest")
    figure = Figure("Accuracy of the answer given", traces, drawn, list(enumerate(compared.asked.names)))
    caption = "Bars are 95% bootstrap intervals over problems. A decoder that ends early lies left of its budget."
    return Section(
        "Accuracy",
        sentence(f"at a budget of {budget} tokens: {listed(clauses) or 'no answer got a verdict'}"),
        [figure],
        caption=caption,
        notes=remarks(compared),
        template="table.html.jinja",
        content=Table(HEAD, cells(found)),
    )


def _line(arm: int, group: Sequence[Point]) -> dict[str, object]:
    up = [point.accuracy.high - point.accuracy.value for point in group]
    down = [point.accuracy.value - point.accuracy.low for point in group]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [point.tokens.value for point in group],
        "y": [point.accuracy.value for point in group],
        "error_y": {"type": "data", "array": up, "arrayminus": down, "color": color(arm, 0.5), "thickness": 1},
        "text": [f"budget {point.budget}" for point in group],
        "name": plotted(group[0].method),
        "line": {"color": color(arm), "width": 2, "dash": dash(arm)},
        "marker": {"color": color(arm), "size": 7, "symbol": symbol(arm)},
        "hovertemplate": f"{plotted(group[0].method)}, %{{text}}: %{{x:.0f}} tokens, %{{y:.1%}}<extra></extra>",
    }


def _paired(compared: Compared, against: Sequence[Contrast]) -> Section | None:
    if not against:
        return None
    first = compared.asked.names[0]
    budget = compared.asked.budgets[-1]
    sure = [one for one in against if one.p < LEVEL and one.budget == budget]
    clauses = [f"{one.method} ({one.difference.value:+.3f})" for one in sure]
    differ = "differs" if len(sure) == 1 else "differ"
    told = f"{listed(clauses)} {differ} from {first}" if sure else f"none is sure to differ from {first}"
    told = f"at a budget of {budget} tokens {told}"
    head = ("decoder", "budget", f"accuracy less {first}'s", "interval", "better", "worse", "p")
    holm = f", after Holm over the {len(against)} rows of this table" if len(against) > 1 else ""
    caption = (
        "On the same problems, pair by pair. Better and worse count problems; p is the exact sign test, two-sided"
        f"{holm}. Budgets are equal, tokens spent may not be: see above."
    )
    content = Table(head, contrast_cells(against))
    return Section("Paired", sentence(told), caption=caption, template="table.html.jinja", content=content)


def _tokens(found: Sequence[Point]) -> Section:
    most = max(found, key=lambda point: point.discarded / max(1e-9, point.tokens.value))
    share = most.discarded / most.tokens.value
    told = f"most is thrown away by {most.method} at {most.budget}: {percent(share)} of its tokens"
    head = ("decoder", "budget", "prompt", "read again", "kept", "discarded", "all")
    rows = [
        [point.method, str(point.budget), *(f"{value:.1f}" for value in (*point[4:8], point.tokens.value))]
        for point in found
    ]
    caption = "Means per problem. Discarded are tokens of traces that were not let vote: pruned, barred, or not chosen."
    return Section(
        "Tokens",
        sentence(told if share > 0 else "every token is of a trace that was let vote"),
        caption=caption,
        template="table.html.jinja",
        content=Table(head, rows),
    )


def _asked(compared: Compared) -> Section:
    asked = compared.asked
    told = f"the first {asked.problems} different problems of {asked.task}, seed {asked.seed}, with {asked.model}"
    rows = [
        [name, "none" if decoder.reads is None else decoder.reads, ", ".join(f"{k} {v}" for k, v in settings)]
        for name, decoder in asked.decoders().items()
        if (settings := list(decoder.settings.items())) is not None
    ]
    caption = "Every answer is beside this page, in problems.jsonl."
    content = Table(("decoder", "entropy it reads", "settings"), rows)
    return Section("What was asked", sentence(told), caption=caption, template="table.html.jinja", content=content)
