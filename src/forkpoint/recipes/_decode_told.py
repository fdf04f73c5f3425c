"""The verb's result: what the terminal prints, what ``--json`` prints, and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.recipes._decode_page import HEAD, cells, contrast_cells, decode_page
from forkpoint.recipes._decode_summary import contrasts, points, remarks
from forkpoint.recipes.decode import DOCUMENT, PAGE, Comparison, decode
from forkpoint.record.documents import read_document
from forkpoint.report.page import write_page


class Told(NamedTuple):
    """What a verb that compares prints."""

    tables: list[tuple[Sequence[str], list[list[str]]]]
    page: Path
    as_json: Any
    notes: Sequence[str] = ()


def told(asked: Comparison, out: Path, **how: Any) -> Told:
    """Decode, write the page, and lay out what is printed; raises what ``decode`` raises."""
    compared = decode(asked, out, **how)
    found, against = points(compared), contrasts(compared)
    page = write_page(decode_page(compared), out / PAGE)
    tables: list[tuple[Sequence[str], list[list[str]]]] = [(HEAD, cells(found))]
    if against:
        first = asked.names[0]
        head = ("decoder", "budget", f"less {first}", "interval", "better", "worse", "p")
        tables.append((head, contrast_cells(against)))
    numbers = {"points": [plain(one) for one in found], "contrasts": [plain(one) for one in against]}
    return Told(tables, page, read_document(out / DOCUMENT) | numbers, remarks(compared))


def plain(one: Any) -> dict[str, Any]:
    """A named tuple as JSON has it, with the named tuples in it."""
    return {key: value._asdict() if hasattr(value, "_asdict") else value for key, value in one._asdict().items()}
