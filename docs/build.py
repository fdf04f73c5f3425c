"""Write docs/reference from the docstrings: one page per folder, every member by being there.

python docs/build.py            writes the pages
python docs/build.py --check    exits with 1 where a page is not what it would write
"""

import sys
from pathlib import Path

from forkpoint import catalog

PAGES = Path(__file__).parent / "reference"
FOLDERS = {
    "methods": "Training methods",
    "credit": "Credit rules",
    "objectives": "Objectives",
    "metrics": "Metrics",
    "roles": "Token roles",
    "forecasts": "Forecasts",
    "tasks": "Tasks",
}


def page(folder: str) -> str:
    """Every member of a folder with its module docstring, as Markdown."""
    names = catalog.names(folder)
    listed = "\n".join(f"* [{name}](#{name}): {catalog.summary(folder, name)}" for name in names)
    members = "\n\n".join(f"## {name}\n\n```text\n{catalog.docstring(folder, name)}\n```" for name in names)
    return (
        f"# {FOLDERS[folder]}\n\nGenerated from `src/forkpoint/{folder}` by `docs/build.py`.\n\n{listed}\n\n{members}\n"
    )


def stale() -> list[str]:
    """Folders whose page is missing or is not what it would be."""
    paths = {folder: PAGES / f"{folder}.md" for folder in FOLDERS}
    return [f for f, path in paths.items() if not path.exists() or path.read_text(encoding="utf-8") != page(f)]


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(stale())}; run python docs/build.py" if stale() else 0)
    PAGES.mkdir(exist_ok=True)
    for folder in FOLDERS:
        (PAGES / f"{folder}.md").write_text(page(folder), encoding="utf-8")
