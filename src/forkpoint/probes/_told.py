"""The verb's result: what the terminal prints, what ``--json`` prints, and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.probes._asked import Asked
from forkpoint.probes._cells import remarks, rows
from forkpoint.probes._page import probe_page
from forkpoint.probes._run import DOCUMENT, PAGE, Functions, probe
from forkpoint.record.documents import read_document
from forkpoint.report._text import ascii_of
from forkpoint.report.page import write_page


class Told(NamedTuple):
    head: list[str]
    rows: list[list[str]]
    notes: list[str]
    page: Path
    as_json: Any


def told(models: Sequence[str], asked: Asked, out: Path, *, functions: Functions, **how: Any) -> Told:
    """Draw, read, write the page, and lay out what is printed; raises what ``probe`` raises."""
    found = probe(models, asked, out, functions=functions, **how)
    page = write_page(probe_page(found), out / PAGE)
    head = ["probe", *(cell for one in found for cell in (one.name, "95 % interval")), "unit"]
    cells = [[ascii_of(cell) for cell in row] for row in rows(found)]
    return Told(head, cells, remarks(found), page, {one.name: read_document(one.folder / DOCUMENT) for one in found})
