"""How the page was made: commands, versions, and every setting in which the arms differ."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forkpoint.record.read import Run
from forkpoint.report._section import Section, Table
from forkpoint.report._series import arm_names, definition
from forkpoint.report._text import listed, sentence, shorten

ORDER = 100
LONGEST_VALUE = 200


def provenance(runs: Sequence[Run]) -> Section | None:
    """Always there."""
    settings = [dict(flat(_settings(run))) for run in runs]
    differing = [key for key in _keys(settings) if len({str(one.get(key)) for one in settings}) > 1]
    return Section(
        "Provenance",
        _finding(differing, len(_keys(settings)), len(runs)),
        template="provenance.html.jinja",
        content={
            "differing": differing,
            "settings": _table(runs, settings, differing),
            "environment": _table(runs, [dict(flat(_origin(run))) for run in runs]),
            "definitions": _definitions(runs),
        },
    )


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names.

    >>> dict(flat({"method": {"name": "grpo"}, "seed": 0}))
    {'method.name': 'grpo', 'seed': '0'}
    """
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", shorten(str(value), LONGEST_VALUE)


def _settings(run: Run) -> dict[str, Any]:
    header = run.header
    return {"config": header.get("config") or {}, **{k: header[k] for k in ("method", "task", "seed") if k in header}}


def _origin(run: Run) -> dict[str, Any]:
    told = {key: run.header[key] for key in ("command", "created", "run_id", "forkpoint") if key in run.header}
    return told | (run.header.get("environment") or {})


def _keys(settings: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(key for one in settings for key in one))


def _table(runs: Sequence[Run], settings: Sequence[Mapping[str, str]], differing: Sequence[str] = ()) -> Table:
    """One row per setting, one column per run; settings that differ come first, with a sign."""
    keys = sorted(_keys(settings), key=lambda key: key not in differing)
    rows = [[f"≠ {key}" if key in differing else key, *(one.get(key, "not set") for one in settings)] for key in keys]
    return Table(["setting", *arm_names(runs)], rows)


def _definitions(runs: Sequence[Run]) -> Table:
    keys = dict.fromkeys(key for run in runs for key in run.header.get("definitions") or {})
    rows = [[key, *dict.fromkeys(definition(run, key) for run in runs)] for key in keys]
    return Table(["column", "what it is"], [[row[0], " | ".join(row[1:])] for row in rows])


def _finding(differing: Sequence[str], total: int, num_runs: int) -> str:
    if num_runs == 1:
        return sentence(f"one run with {total} recorded settings")
    if not differing:
        return sentence(f"the {num_runs} runs have the same {total} recorded settings")
    more = [f"{len(differing) - 4} more"] if len(differing) > 4 else []
    named = listed([*differing[:4], *more])
    return sentence(f"the runs differ in {len(differing)} of {total} recorded settings: {named}")
