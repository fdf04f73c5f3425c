"""Findings of one model or several as one page, each model an arm. What models wrote is text, escaped by the page."""

from collections import Counter
from collections.abc import Sequence

from forkpoint.probes._cells import remarks, rows
from forkpoint.probes._reach import curve, reach
from forkpoint.probes._reading import LEVEL
from forkpoint.probes._run import Probed
from forkpoint.probes._samples import Drawn
from forkpoint.probes._variety import answers, clusters
from forkpoint.report._section import Section, Table
from forkpoint.report._text import percent, sentence, shorten
from forkpoint.report.page import page_of

TITLE = "How wide is it still"
LEDE = (
    "What a model can still do is more than what it does most of the time. This page shows how often one answer is"
    " right, what more of them reach, and how different they are, on held-out problems."
)
FINDINGS = (
    f"Means over problems with {LEVEL:.0%} bootstrap intervals over problems. The two semantic entropies weigh samples"
    " differently, and each score is that of its own equality, scorer or kernel."
)
DRAWN = (
    "The same problems for every model; full softmax over the ids of its tokenizer, neither top-k nor top-p. Every"
    " sample and number is beside this page, in samples.jsonl and probe.json."
)
PROBLEMS = 12
"""shown, spread over all"""
LONGEST_TEXT = 120
OPEN = "table.html.jinja"


def probe_page(probed: Sequence[Probed]) -> str:
    """The page as HTML: self-contained, inert."""
    sections = {
        "findings": _findings(probed),
        "reach": reach(probed),
        "answers": answers(probed),
        "clusters": clusters(probed),
        "problems": _problems(probed),
        "drawn": _drawn(probed),
    }
    return page_of(TITLE, LEDE, [one.name for one in probed], list(sections.items()))


def _findings(probed: Sequence[Probed]) -> Section:
    head = ["", *(cell for one in probed for cell in (one.name, "interval")), "unit"]
    notes = [f"{note}." for note in remarks(probed)]
    finding = sentence("; ".join(map(_clause, probed)))
    return Section("Findings", finding, caption=FINDINGS, notes=notes, template=OPEN, content=Table(head, rows(probed)))


def _clause(one: Probed) -> str:
    found = curve(one, "pass@")
    if not found:
        return f"no sample of {one.name} got a verdict"
    (_, single), (k, most) = found[0], found[-1]
    reached = f" and {k} samples solve {percent(most.value)} of problems" if k > 1 else ""
    return f"with {one.name}, {percent(single.value)} of samples are right{reached}"


def _problems(probed: Sequence[Probed]) -> Section:
    problems = probed[0].samples.problems
    shown = range(0, len(problems), max(1, len(problems) // PROBLEMS))[:PROBLEMS]
    columns = [cell for one in probed for cell in (f"right, {one.name}", "answers", "most common")]
    lines = [
        [
            shorten(problems[i].prompt, LONGEST_TEXT),
            *(cell for one in probed for cell in _told(one.samples.problems[i])),
        ]
        for i in shown
    ]
    finding = f"{len(shown)} of {len(problems)} problems, evenly spread, with their most common answer."
    return Section("Problems", finding, template=OPEN, content=Table(["prompt", *columns], lines))


def _told(one: Drawn) -> list[str]:
    answer, times = min(Counter(one.answers).items(), key=lambda pair: (-pair[1], str(pair[0])))
    common = "no answer" if answer is None else shorten(answer, LONGEST_TEXT)
    return [f"{one.num_correct} of {len(one.judged)}", str(len(set(one.answers))), f"{common} ({times})"]


def _drawn(probed: Sequence[Probed]) -> Section:
    first = probed[0].asked
    said = (
        f"{first.k} samples of each of {first.problems} problems of {first.task} at temperature {first.temperature:g}."
    )
    asked = [vars(one.asked) for one in probed]
    lines = [[key, *(str(each[key]) for each in asked)] for key in asked[0]]
    content = Table(["", *(one.name for one in probed)], lines)
    return Section("What was drawn", said, caption=DRAWN, template=OPEN, content=content)
