"""What a section of the page is made of: a finding, figures, what the numbers mean, and the same numbers as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One panel: Plotly traces and axes, in names of colors (``--arm-0``) that the page resolves for light and dark."""

    title: str
    """what the vertical axis shows, set above the panel so that nothing is read sideways"""
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    arms: Sequence[tuple[int, str]] = ()
    """which runs are drawn: (number of the arm, name)"""


@dataclass(frozen=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    title: str
    finding: str
    """one sentence, computed from the data"""
    figures: Sequence[Figure] = ()
    definitions: Sequence[tuple[str, str]] = ()
    """(column, estimator, reduction, temperature, token set and unit) of every quantity drawn"""
    caption: str = ""
    table: Table | None = None
    notes: Sequence[str] = ()
    """what is missing, thinned or not finite"""
    template: str = ""
    """a partial that draws ``content`` below the figures"""
    content: Any = field(default=None)
