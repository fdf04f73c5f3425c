"""A model's values by name, and how a cell of a table writes them."""

from collections.abc import Sequence

from forkpoint.probes._reading import Value
from forkpoint.probes._run import Probed
from forkpoint.report._text import listed, number


def values(one: Probed) -> dict[str, Value]:
    """Every value of every reading."""
    return {name: value for reading in one.readings.values() for name, value in reading.values.items()}


def rows(probed: Sequence[Probed]) -> list[list[str]]:
    """Name, then value and interval of every model, then the unit."""
    names = dict.fromkeys(name for one in probed for name in values(one))
    return [_row(name, [values(one).get(name) for one in probed]) for name in names]


def remarks(probed: Sequence[Probed]) -> list[str]:
    """The notes of the readings; one that is true of every model is said once."""
    told: dict[tuple[str, str], list[str]] = {}
    for one in probed:
        for name, reading in one.readings.items():
            if reading.note:
                told.setdefault((name, reading.note), []).append(one.name)
    who = {key: "" if len(names) == len(probed) else f"{listed(names)}, " for key, names in told.items()}
    return [f"{who[name, note]}{name}: {note}" for name, note in told]


def cell(value: Value | None) -> str:
    return "–" if value is None or not value.problems else number(value.value)


def _row(name: str, found: Sequence[Value | None]) -> list[str]:
    cells = [text for value in found for text in (cell(value), _interval(value))]
    return [name, *cells, next(value.unit for value in found if value)]


def _interval(value: Value | None) -> str:
    return "–" if value is None or not value.problems else f"{number(value.low)}\u00a0to\u00a0{number(value.high)}"
