"""What ``forkpoint methods`` tells of a method: its parts, its needs, its settings, and how well it was checked.

Read from the source of the folders and from the papers' files; nothing is run, so no torch is needed. ``a+b`` is told
by the rules that also join them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from forkpoint import catalog, papers
from forkpoint.parts import leading, places, refuse_overwriting
from forkpoint.signatures import Declared, declared, does_to_advantage, filled_by

OURS = "ours"
"""status of a method without a paper"""
COLUMNS = ("method", "what it does", "source", "plans", "reads", "off-policy", "trainers", "status", "settings")


@dataclass(frozen=True)
class Facts:
    """One method, or a composition, as the table shows it."""

    name: str
    summary: str
    sources: tuple[str, ...]
    """arXiv ids"""
    plans: tuple[str, ...]
    """credit rules, in the order in which they run"""
    objective: str
    controllers: tuple[str, ...]
    reads: tuple[str, ...]
    """optional fields of a step that it needs"""
    needs_off_policy: bool
    """it does nothing while every ratio is 1"""
    reduction: str | None
    """how its paper averages token losses; None leaves that to the trainer"""
    rewards: tuple[float, ...]
    """the only rewards it is defined for; empty where any will do"""
    trainers: tuple[str, ...]
    """those that fill every field it reads"""
    status: str
    """the strongest status of a claim about it in the papers' files"""
    checked_by: str
    """the test behind that status"""
    settings: Mapping[str, Any]
    flags: Mapping[str, Any]
    """what its file declares, as written there"""


def facts(name: str) -> Facts:
    """Everything about one method or ``a+b``. ValueError, in one line, for a name that is none or a wrong composition.

    >>> found = facts("kl_cov")
    >>> found.plans, found.objective, found.needs_off_policy, found.trainers
    (('kl_covariance',), 'marked_kl', True, ('trl',))
    """
    parts = parts_of(name)
    if len(parts) == 1:
        return _of(parts[0], parts)
    leads = leading(parts)
    refuse_overwriting(
        name, [(part.name, does_to_advantage(rule)) for part in parts for rule in part.uses.get("credit", ())]
    )
    joined = ", ".join(part.name for part in parts if part is not leads)
    return _of(leads, parts, summary=f"the objective of {leads.name}; the credit rules of {joined} as well")


def parts_of(name: str) -> list[Declared]:
    """The methods that ``a+b`` names; ValueError names the nearest where one is none."""
    return [declared("methods", part.strip()) for part in name.split("+")]


def table() -> list[Facts]:
    """Every method of the folder, by name."""
    return [facts(name) for name in catalog.names("methods")]


def lines(found: Facts) -> list[tuple[str, str]]:
    """The facts that a docstring does not say, as (what, in words)."""
    lacking = {
        trainer: [f for f in found.reads if f not in filled_by(trainer)] for trainer in catalog.names("trainers")
    }
    each_alone = ", of each part alone" if "+" in found.name else ""
    told = [trainer if not fields else f"not {trainer}: no {', '.join(fields)}" for trainer, fields in lacking.items()]
    return [
        ("credit rules", ", then ".join(found.plans) or "none"),
        ("objective", found.objective),
        ("controllers", ", ".join(found.controllers) + ", on columns of the record" if found.controllers else "none"),
        ("reads", ", ".join(found.reads) or "nothing of a step beyond log-probs and advantages"),
        ("on-policy", "does nothing: needs ratios other than 1" if found.needs_off_policy else "acts"),
        ("average", (found.reduction or "the trainer's").replace("_", " ")),
        ("rewards", " and ".join(f"{reward:g}" for reward in found.rewards) + " only" if found.rewards else "any"),
        ("trainers", "; ".join(told)),
        ("status", found.status + each_alone + (f", by {found.checked_by}" if found.checked_by else "")),
        ("settings", in_words(found.settings)),
    ]


def cells(found: Facts) -> list[str]:
    """One row of the table of all methods, under ``COLUMNS``.

    >>> cells(facts("dapo"))[2:8]
    ['2503.14476', '', '', 'needed', 'trl', 'exact']
    """
    lists = (found.sources, found.plans, found.reads, found.trainers)
    sources, plans, reads, trainers = (", ".join(names) for names in lists)
    needs = "needed" if found.needs_off_policy else ""
    return [found.name, found.summary, sources, plans, reads, needs, trainers, found.status, in_words(found.settings)]


def in_words(settings: Mapping[str, Any]) -> str:
    """``name=value`` for each, in four figures."""
    return ", ".join(f"{name}={v:.4g}" if isinstance(v, float) else f"{name}={v}" for name, v in settings.items())


def _of(leads: Declared, parts: list[Declared], summary: str = "") -> Facts:
    settings = dict(leads.settings)
    if len(parts) > 1:
        settings = {called: parts[i].settings[inner] for called, (i, inner) in places(parts).items()}
    reads = _union(part.reads for part in parts)
    checked = [_checked(part.name) for part in parts]
    # of several parts the weakest says how far the whole is checked
    status, _ = max(checked, key=lambda one: [*papers.STATUSES, OURS].index(one[0]))
    checked_by = ", ".join(dict.fromkeys(test for _, test in checked if test))
    return Facts(
        name="+".join(part.name for part in parts),
        summary=summary or leads.summary,
        sources=_union(part.sources for part in parts),
        plans=_union(part.uses.get("credit", ()) for part in parts),
        objective=", ".join(leads.uses.get("objectives", ())),
        controllers=_union(part.uses.get("controllers", ()) for part in parts),
        reads=reads,
        needs_off_policy=any(part.flags.get("needs_off_policy", False) for part in parts),
        reduction=next((part.reduction for part in parts if part.reduction), None),
        rewards=next((tuple(part.flags["rewards"]) for part in parts if part.flags.get("rewards")), ()),
        trainers=tuple(name for name in _trainers() if set(reads) <= filled_by(name)),
        status=status,
        checked_by=checked_by,
        settings=settings,
        flags=dict(leads.flags) if len(parts) == 1 else {},
    )


@cache
def _checked(name: str) -> tuple[str, str]:
    """(status, test) of the strongest claim of its papers: of those that name the method where some do.

    No claim of a paper speaks for a method of ours that builds on it.
    """
    part = declared("methods", name)
    if not part.sources or part.ours:
        return OURS, ""
    known = [papers.get(source) for source in part.sources if source in papers.names()]
    claims = [claim for paper in known for claim in paper.claim]
    named = [claim for claim in claims if _plain(part.name) in _plain(claim.text)]
    best = min(named or claims, key=lambda claim: papers.STATUSES.index(claim.status), default=None)
    return (best.status, best.checked_by) if best else ("quoted", "")


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


@cache
def _trainers() -> tuple[str, ...]:
    return tuple(catalog.names("trainers"))


def _union(names: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*names)))
