"""Write docs/reference from the docstrings: one page per folder and per method, every member by being there.

python docs/build.py            writes the pages and the figures
python docs/build.py --check    exits with 1 where a file is not what it would write, or is no more
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from gradient_figure import figure

from forkpoint import catalog, explain, papers
from forkpoint.methods import build

PAGES = Path(__file__).parent / "reference"
FOLDERS = {
    "credit": "Credit rules",
    "objectives": "Objectives",
    "controllers": "Controllers",
    "metrics": "Metrics",
    "roles": "Token roles",
    "forecasts": "Forecasts",
    "tasks": "Tasks",
    "probes": "Probes",
    "decoders": "Decoders",
}
METHODS = "Training methods"
LEGEND = (
    "d loss / d log p of one token against its ratio, by automatic differentiation of the method's own loss before any "
    "average: below zero the token is pushed up, above zero down. Plain policy gradient is -r A. The token has "
    "advantage A and weight 1; what the plan makes of A, the weight and the mark comes on top."
)


def pages() -> Iterator[tuple[str, str]]:
    """(path under ``PAGES``, content) of every file of the reference."""
    yield from ((f"{folder}.md", page(folder)) for folder in FOLDERS)
    yield "methods.md", index()
    for name in catalog.names("methods"):
        yield f"methods/{name}.md", method_page(name)
        yield f"methods/{name}.svg", figure(build(name))


def page(folder: str) -> str:
    """Every member of a folder with its module docstring, as Markdown."""
    names = catalog.names(folder)
    listed = "\n".join(f"* [{name}](#{name}): {catalog.summary(folder, name)}" for name in names)
    members = "\n\n".join(f"## {name}\n\n{_verbatim(folder, name)}" for name in names)
    return f"# {FOLDERS[folder]}\n\n{_origin(folder)}\n\n{listed}\n\n{members}\n"


def index() -> str:
    """The table that ``forkpoint methods`` prints, with a page behind each name."""
    rows = [explain.cells(facts) for facts in explain.table()]
    linked = [[f"[{name}](methods/{name}.md)", *rest] for name, *rest in rows]
    about = (
        "`forkpoint methods NAME --tokens N` counts the tokens of a share: [which settings](../choosing-settings.md)."
    )
    return f"# {METHODS}\n\n{_origin('methods')} {about}\n\n{_table(explain.COLUMNS, linked)}\n"


def method_page(name: str) -> str:
    """One method: its docstring, its parts, its pull at a token, and what its papers claim."""
    parts = [
        f"# {name}",
        _origin("methods", f"{name}.py"),
        _verbatim("methods", name),
        _table((name, ""), explain.lines(explain.facts(name))),
        f"![The pull of {name} at a token, against its ratio]({name}.svg)\n\n{LEGEND}",
        *_claims(name),
        "[All methods](../methods.md)",
    ]
    return "\n\n".join(parts) + "\n"


def _claims(name: str) -> Iterator[str]:
    for paper in papers.of_method(name):
        rows = [(claim.status, claim.text, claim.value, claim.where) for claim in paper.claim]
        yield f"## What [{paper.title}]({paper.url}) claims"
        yield _table(("status", "claim", "value", "where"), rows)


def _table(head: tuple[str, ...], rows: list) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _verbatim(folder: str, name: str) -> str:
    return f"```text\n{catalog.docstring(folder, name)}\n```"


def _origin(*path: str) -> str:
    return f"Generated from `src/forkpoint/{'/'.join(path)}` by `docs/build.py`."


def stale() -> list[str]:
    """Files that are missing, are not what they would be, or belong to a method that is no more."""
    wanted = dict(pages())
    wrong = [path for path, text in wanted.items() if not _is(PAGES / path, text)]
    there = [f"methods/{path.name}" for path in sorted((PAGES / "methods").glob("*"))]
    return wrong + [path for path in there if path not in wanted]


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def write(into: Path) -> None:
    """Every file, and none of methods that are no more."""
    wanted = dict(pages())
    (into / "methods").mkdir(parents=True, exist_ok=True)
    for path in (into / "methods").glob("*"):
        if f"methods/{path.name}" not in wanted:
            path.unlink()
    for path, text in wanted.items():
        (into / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--check" in sys.argv:
        wrong = stale()
        sys.exit(f"stale: {', '.join(wrong)}; run python docs/build.py" if wrong else 0)
    write(PAGES)
