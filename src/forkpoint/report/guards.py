"""What could have gone wrong unseen: every guard with its last and its worst value, and the alarms in words."""

import math
from collections.abc import Sequence

from forkpoint import alarms
from forkpoint.record.read import Run
from forkpoint.report._section import Section, Table
from forkpoint.report._series import Series, arm_names, columns, definitions
from forkpoint.report._text import listed, number, sentence

ORDER = 85
PREFIX = "guard/"
LOW_IS_WORSE = ("guard/changed_share", "guard/reward_low")
"""of every other guard, the highest value is the worst"""
MOST_ALARMS = 50
"""alarms told in words per run"""


def guards(runs: Sequence[Run]) -> Section | None:
    """None where no run recorded a guard or an alarm."""
    keys = columns(runs, "train", PREFIX)
    told = [alarms.recorded(run.metrics("train")) for run in runs]
    if not keys and not any(told):
        return None
    return Section(
        "Guards",
        _finding(runs, told),
        definitions=definitions(runs, *keys),
        caption="The worst value is the highest; of changed_share and reward_low it is the lowest.",
        template="guards.html.jinja",
        content={"table": _table(runs, keys), "alarms": _in_words(runs, told)},
    )


def _table(runs: Sequence[Run], keys: Sequence[str]) -> Table:
    # not by ``series``: it leaves out a column in which nothing is finite, and that is what this table is for
    rows = [
        _row(Series(arm, name, key, *(column.tolist() for column in run.column(key))))
        for key in keys
        for arm, (run, name) in enumerate(zip(runs, arm_names(runs), strict=True))
        if key in run.columns()
    ]
    return Table(["guard", "run", "last", "worst", "at step"], rows)


def _row(one: Series) -> list[str]:
    """Last value, and the worst of the finite ones; of equal ones the first."""
    pick = min if one.key in LOW_IS_WORSE else max
    step, worst = pick(one.finite, key=lambda point: point[1], default=(one.steps[0], math.nan))
    return [one.key.removeprefix(PREFIX), one.name, _figures(one.values[-1]), _figures(worst), str(step)]


def _figures(value: float) -> str:
    """Six figures, not three decimals: one token in ten thousand is not none.

    >>> _figures(0.00012), _figures(-7.0), _figures(math.nan)
    ('0.00012', '−7', 'not finite')
    """
    return f"{value:.6g}".replace("-", "−") if math.isfinite(value) else number(value)


def _in_words(runs: Sequence[Run], told: Sequence[Sequence[tuple[int, str]]]) -> list[str]:
    lines: list[str] = []
    for name, found in zip(arm_names(runs), told, strict=True):
        lines += [f"{name}, step {step}, {alarm}: {alarms.meaning(alarm)}." for step, alarm in found[:MOST_ALARMS]]
        lines += [f"{name}: {len(found) - MOST_ALARMS} more alarms are not shown."] if len(found) > MOST_ALARMS else []
    return lines


def _finding(runs: Sequence[Run], told: Sequence[Sequence[tuple[int, str]]]) -> str:
    if not any(told):
        return sentence("nothing to report: no alarm was raised" + (" in any run" if len(runs) > 1 else ""))
    return sentence(listed([_clause(name, found) for name, found in zip(arm_names(runs), told, strict=True)]))


def _clause(name: str, found: Sequence[tuple[int, str]]) -> str:
    if not found:
        return f"no alarm with {name}"
    step, alarm = found[0]
    return f"{len(found)} alarm{'s' if len(found) > 1 else ''} with {name}, the first at step {step} ({alarm})"
