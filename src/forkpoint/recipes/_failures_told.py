"""The verb's result: what the terminal prints, what ``--json`` prints, and the page."""

from pathlib import Path
from typing import Any

from forkpoint.recipes._decode_told import Told, plain
from forkpoint.recipes._failures_cells import HEADS, tables, warning
from forkpoint.recipes._failures_page import failures_page
from forkpoint.recipes._failures_summary import Summary, one_model, summary, unjudged
from forkpoint.recipes.failures import DOCUMENT, PAGE, Failures, failures
from forkpoint.record.documents import read_document, write_document
from forkpoint.report._text import ascii_of
from forkpoint.report.page import write_page


def told(asked: Failures, out: Path, **how: Any) -> Told:
    """Measure, write the page, and lay out what is printed; raises what ``failures`` raises."""
    arms = failures(asked, out, **how)
    found = summary(arms)
    page = write_page(failures_page(asked, arms, found), out / PAGE)
    shown = [(HEADS[name], rows) for name, rows in tables(found).items() if rows]
    # a script reads ASCII; a page keeps an interval on one line
    printed = [(head, [[ascii_of(cell) for cell in row] for row in rows]) for head, rows in shown]
    roles = {arm.name: dict(arm.roles) for arm in arms}
    everything = read_document(out / DOCUMENT) | {"roles": roles} | as_plain(found)
    write_document(out / DOCUMENT, everything)
    return Told(printed, page, everything, [*one_model(arms), *unjudged(arms), *filter(None, [warning(found)])])


def as_plain(found: Summary) -> dict[str, Any]:
    """As JSON has it."""
    rows = {name: [plain(one) for one in getattr(found, name)] for name in ("reach", "spread", "cells", "crossings")}
    return rows | {"curves": {arm: curve._asdict() for arm, curve in found.curves.items()}}
