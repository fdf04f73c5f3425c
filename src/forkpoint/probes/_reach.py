"""Section of the page: what k samples hold, what a vote makes of them, and what a scorer picks."""

from collections.abc import Sequence

from forkpoint.probes._cells import cell, values
from forkpoint.probes._reading import LEVEL, Value
from forkpoint.probes._run import Probed
from forkpoint.report._plot import PERCENT, band, layout
from forkpoint.report._section import Figure, Section, Table
from forkpoint.report._text import percent, sentence

KINDS = {
    "pass@": "pass@k: any of k is right",
    "maj@": "maj@k: the vote of k is right",
    "best@": "best@k: the scorer's pick of k is right",
}
CAPTION = (
    f"Bands are {LEVEL:.0%} bootstrap intervals over problems. All three are exact expectations over the sets of k that"
    " the samples hold."
)


def reach(probed: Sequence[Probed]) -> Section:
    figures = [_panel(probed, prefix, title) for prefix, title in KINDS.items()]
    names = list(dict.fromkeys(f"{p}{k}" for p in KINDS for one in probed for k, _ in curve(one, p)))
    lines = [[name, *(cell(values(one).get(name)) for one in probed)] for name in names]
    table = Table(["", *(one.name for one in probed)], lines)
    finding = sentence("; ".join(map(_clause, probed)))
    return Section("Reach", finding, figures, caption=CAPTION, table=table)


def curve(one: Probed, prefix: str) -> list[tuple[int, Value]]:
    """(k, value) of every ``prefix`` + k that some problem has."""
    found = {int(name.removeprefix(prefix)): value for name, value in values(one).items() if name.startswith(prefix)}
    return [(k, value) for k, value in found.items() if value.problems]


def _clause(one: Probed) -> str:
    ends = [curve(one, prefix)[-1:] for prefix in KINDS]
    if not all(ends):
        return f"no sample of {one.name} got a verdict"
    (k, held), (_, voted), (_, picked) = (end[0] for end in ends)
    told = f"a vote of all is right on {percent(voted.value)} and the scorer's pick on {percent(picked.value)}"
    return f"{k} samples of {one.name} hold a right one for {percent(held.value)} of problems; {told}"


def _panel(probed: Sequence[Probed], prefix: str, title: str) -> Figure:
    curves = [curve(one, prefix) for one in probed]
    traces = [trace for arm, one in enumerate(probed) for trace in band(arm, one.name, curves[arm], PERCENT)]
    ticks = sorted({k for each in curves for k, _ in each})
    axis = {"type": "log", "tickvals": ticks, "ticktext": [str(k) for k in ticks]}
    drawn = layout("k, samples per problem", PERCENT, [0.0, 1.02], xaxis=axis)
    return Figure(title, traces, drawn, [(arm, one.name) for arm, one in enumerate(probed)])
