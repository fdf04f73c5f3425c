"""The page: one HTML file that needs no network, runs no script but its own two, and reads without color or mouse."""

import os
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from forkpoint import catalog
from forkpoint.record.read import Run
from forkpoint.report._section import Section
from forkpoint.report._series import arm_names
from forkpoint.report._text import jsonable, listed, visible

HOME = Path(__file__).parent
LEDE = (
    "Reinforcement learning sharpens a policy: it becomes more accurate and less varied. This page shows how much of "
    "that variety, measured as entropy, {} run spent, where, and what it bought."
)
Builder = Callable[[Sequence[Run]], Section | None]


def page(runs: Sequence[Run], *, title: str | None = None) -> str:
    """The report of one or more runs as HTML, self-contained.

    Runs are drawn on the same axes in the order given, one color each. Whatever a model, a run or a config wrote is
    text: escaped, control and bidirectional characters spelled out. The scripts are named by hash in the page's own
    content security policy, so that nothing else could run.

    Raises ValueError where there is no run.
    """
    if not runs:
        raise ValueError("report: no run to report on; name at least one run directory")
    sections = [(name, section) for name, build in builders() if (section := build(runs)) is not None]
    lede = LEDE.format("each" if len(runs) > 1 else "the")
    return page_of(title or "Where the entropy went", lede, arm_names(runs), sections)


def page_of(title: str, lede: str, arms: Sequence[str], sections: Sequence[tuple[str, Section]]) -> str:
    """A page of any (id, section), about anything: ``arms`` names what has a color, in the order of the colors.

    As inert as ``page``, whose rendering this is: title, lede, names and sections may hold what a model wrote. An id is
    a fragment of the page's own address, which the caller makes up.
    """
    scripts = [_script(get_plotlyjs()), _script(_read("page.js"))]
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            title=title,
            lede=lede,
            names=listed(arms),
            policy=_policy(scripts),
            style=Markup(_read("page.css")),
            scripts=[Markup(script) for script in scripts],
            arms=list(enumerate(arms)),
            sections=sections,
        )
    )


def write_page(text: str, path: Path) -> Path:
    """Write a page whole or not at all, so that a reader never opens half of one; returns ``path``.

    Raises ValueError, in one line, where it cannot be written there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return path


def builders() -> list[tuple[str, Builder]]:
    """Every section of this folder as (name, function), by the ``ORDER`` in its file."""
    modules = {name: import_module(f"forkpoint.report.{name}") for name in catalog.names("report") if name != "page"}
    return [(name, getattr(modules[name], name)) for name in sorted(modules, key=lambda name: modules[name].ORDER)]


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(HOME),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # every printed value passes here, then through autoescape; Markup is ours and stays as it is
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    templates.filters["jsonable"] = jsonable
    return templates


def _read(name: str) -> str:
    return (HOME / name).read_text(encoding="utf-8")


def _script(text: str) -> str:
    """As a browser will hash it: it reads every line end as a newline. An early close tag would end the script."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert "</script" not in text.lower() and "<!--" not in text
    return text


def _policy(scripts: Sequence[str]) -> str:
    """Content security policy. Plotly draws with style attributes, so styles are open; scripts are not."""
    hashes = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    rules: dict[str, Any] = {
        "default-src": "'none'",
        "script-src": " ".join(hashes),
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
