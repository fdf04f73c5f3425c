"""Entropy by what a token is for: good training keeps it at the forks and spends it on the mechanics."""

from collections.abc import Sequence

from forkpoint.record.read import Run
from forkpoint.report._plot import common_range, panel
from forkpoint.report._section import Section
from forkpoint.report._series import Series, changes, definitions, either, remarks, step_table
from forkpoint.report._text import listed, number, sentence

ORDER = 50
CAPTION = (
    "All panels share one scale, in nats. A role is fixed by the task, the text, a tool or a frozen reference policy, "
    "never by the entropy of the policy in training."
)
ROLES = {
    "fork": "Forks: several tokens can still end right",
    "execution": "Execution: determined by what precedes",
    "planning": "Planning: another try, or stop",
    "format": "Format: settles the notation",
    "after_tool": "After a tool: the first tokens that follow a result",
    "reference_fork": "Reference forks: a frozen policy is undecided",
}
LABELED = ("fork", "execution", "planning", "format")
"""those of every task that labels its tokens; the others need a tool or a reference policy"""


def roles(runs: Sequence[Run]) -> Section | None:
    """None where entropy was not split by role."""
    found = {role: either(runs, f"entropy/full/{role}")[1] for role in ROLES}
    found = {role: group for role, group in found.items() if group}
    if not found:
        return None
    flat = [one for group in found.values() for one in group]
    scale = common_range(flat)
    return Section(
        "Token roles",
        _finding(found),
        [panel(ROLES[role], group, y_range=scale) for role, group in found.items()],
        definitions(runs, *(f"entropy/full/{role}" for role in found)),
        CAPTION,
        step_table(flat, [f"{one.key.rpartition('/')[2]}, {one.name}" for one in flat]),
        [*remarks(runs, flat), *[f"No run recorded entropy/full/{role}." for role in LABELED if role not in found]],
    )


def _finding(found: dict[str, list[Series]]) -> str:
    """The forks where there are any, else the first role; and how far a fork stands above the mechanics."""
    role = "fork" if "fork" in found else next(iter(found))
    floor = {one.arm: one.last for one in found.get("execution", []) if one.last > 0}
    ratios = [f"{one.last / floor[one.arm]:.1f} times (with {one.name})" for one in found[role] if one.arm in floor]
    ending = f"; at the end, a fork holds {listed(ratios)} the entropy of an execution token"
    text = f"entropy at {role} tokens {changes(found[role], number, ' nats')}"
    return sentence(text + (ending if role == "fork" and ratios else ""))
