"""What reaches a terminal: tables and JSON on stdout, and nothing that a run's own text can steer."""

import io
import json
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def replace_unencodable() -> None:
    """A terminal that cannot show R² shows R?, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def one_line_warnings() -> None:
    """A warning is a line on stderr that begins as an error does, without the line of code that raised it."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        note(f"forkpoint: warning: {visible(message)}")

    warnings.showwarning = show


def visible(text: object) -> str:
    """One line in which every control, bidi or unassigned character is replaced, so that it moves no cursor.

    >>> visible("run" + chr(27) + "[2J" + chr(0x202E) + "1")
    'run�[2J�1'
    """
    flat = " ".join(str(text).split("\n"))
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in flat)


def number(value: float | None, digits: int = 3) -> str:
    """A reading for a table cell; a missing one is a dash, a non-finite one keeps its name.

    >>> number(0.12345), number(None), number(float("nan"))
    ('0.123', '–', 'nan')
    """
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}"


def interval(bounds: Any) -> str:
    """An interval with ``low``, ``high`` and ``level`` as a table cell.

    >>> from types import SimpleNamespace
    >>> interval(SimpleNamespace(low=0.31, high=0.42, level=0.95)), interval(None)
    ('0.310 to 0.420 (95 %)', '–')
    """
    if bounds is None:
        return "\N{EN DASH}"
    return f"{number(bounds.low)} to {number(bounds.high)} ({100 * bounds.level:.0f} %)"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print a table to stdout; columns named in ``right`` hold numbers. Rich honors NO_COLOR and COLUMNS."""
    out = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        out.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        # Text, not str: a string is parsed as markup, and "[/x]" in a run's name would raise
        out.add_row(*(Text(visible(cell)) for cell in row))
    # a pipe has no width: 80 columns would fold what a script wants to read
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200)
    with console.capture() as captured:
        console.print(out)
    # not printed by rich itself, which turns a closed pipe into exit code 1
    print(captured.get(), end="")


def say(text: object) -> None:
    """One result line on stdout."""
    print(visible(text))


def note(text: object) -> None:
    """One line beside the result, on stderr."""
    print(visible(text), file=sys.stderr)


def as_json(value: Any) -> None:
    """Print strict JSON to stdout: ASCII only, non-finite numbers as the strings "nan", "inf" and "-inf"."""
    print(json.dumps(plain(value), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """A value as JSON can hold it; dataclasses and named tuples become objects, their callables are left out.

    >>> plain({"ceiling": float("inf"), "steps": (1, 2), "fit": print})
    {'ceiling': 'inf', 'steps': [1, 2]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())  # type: ignore[attr-defined]  # a named tuple
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if not callable(v)}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if tolist := getattr(value, "tolist", None):  # numpy, without importing it
        return plain(tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
