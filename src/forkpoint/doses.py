"""How many tokens a share is: the doses of a method in a step of so many tokens, without running anything.

A credit rule takes max(1, floor(share N + slack)) of a step's N tokens, slack being the rule's own rounding. In a small
step the "at least one" decides, and a share that was meant as a percentage is a hundred times too large: both are
silent in training, so they are said here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forkpoint import catalog
from forkpoint.config import Setting
from forkpoint.explain import facts, parts_of
from forkpoint.parts import places
from forkpoint.signatures import Declared, shares

PERCENT = 50.0
"""times the paper's share from which a percentage is likely to have been meant"""


@dataclass(frozen=True)
class Dose:
    """One share-like setting, as tokens."""

    setting: str
    value: float
    paper: float
    tokens: int
    """of the step, that are chosen at most: fewer where fewer qualify"""
    real_share: float
    """tokens / the step's tokens"""
    note: str
    """what is likely to be wrong; empty where nothing is"""


def doses(name: str, num_tokens: int, settings: Mapping[str, Setting] | None = None) -> list[Dose]:
    """Every share that the method, or ``a+b``, takes of the ``num_tokens`` of one optimizer step.

    Raises ValueError, in one line, for a method or setting that there is none of, a share outside (0, 1], and a step
    without tokens.

    >>> [(dose.tokens, dose.real_share) for dose in doses("kl_cov", 40_000)]
    [(80, 0.002)]
    >>> doses("kl_cov", 40_000, {"share": 0.2})[0].note
    'share=0.2 is 20 % of the tokens, 100 times the paper; if 0.2 % is meant, write 0.002'
    """
    if num_tokens < 1:
        raise ValueError(f"tokens={num_tokens}: give the tokens of one optimizer step, such as 40000")
    known: Mapping[str, Any] = facts(name).settings
    asked: dict[str, Any] = dict(settings or {})
    for setting, value in asked.items():
        if setting not in known:
            raise ValueError(f"{name} has no setting {setting!r}; {catalog.suggest(setting, list(known))}")
        if isinstance(known[setting], float) and not (isinstance(value, float) and math.isfinite(value)):
            raise ValueError(f"{name}: {setting}={value!r}: it must be a finite number")
    slacks = share_settings(name)
    return [_dose(s, float(asked.get(s, known[s])), known[s], num_tokens, slack) for s, slack in slacks.items()]


def share_settings(name: str) -> dict[str, float]:
    """Settings of the method, or of ``a+b``, that are shares of a step's tokens -> the slack of their rounding.

    >>> share_settings("kl_cov"), share_settings("grpo")
    ({'share': 0.0}, {})
    """
    parts = parts_of(name)
    inside = [_shares_of(part) for part in parts]
    if len(parts) == 1:
        return inside[0]
    return {called: inside[i][inner] for called, (i, inner) in places(parts).items() if inner in inside[i]}


def unlikely(name: str, most_tokens: int, settings: Mapping[str, Setting]) -> list[str]:
    """What is likely to be wrong with the shares of a run whose steps have no more than ``most_tokens``.

    Empty for a method from outside the folder, whose source is not read, and for settings that the run will refuse.

    >>> unlikely("kl_cov", 14_336, {"share": 0.2}), unlikely("grpo", 14_336, {})
    (['share=0.2 is 20 % of the tokens, 100 times the paper; if 0.2 % is meant, write 0.002'], [])
    """
    try:
        return [dose.note for dose in doses(name, most_tokens, settings) if dose.note]
    except ValueError:
        return []


def notes(name: str) -> list[tuple[str, str]]:
    """(setting, sentence of its method's docstring that speaks of it), for the numbers that are no share.

    >>> [sentence for setting, sentence in notes("kl_cov") if setting == "coef"]
    ['Settings of the paper: coef 1, share 2e-3 for 7B and 2e-4 for 32B models, eight updates per rollout.']
    """
    parts = parts_of(name)
    where = places(parts) if len(parts) > 1 else {inner: (0, inner) for inner in parts[0].settings}
    told = [_sentences(catalog.docstring("methods", part.name)) for part in parts]
    return [
        (called, sentence)
        for called, (i, inner) in where.items()
        if isinstance(parts[i].settings[inner], float) and called not in share_settings(name)
        for sentence in told[i]
        if re.search(rf"\b{inner}\b", sentence)
    ]


def _shares_of(part: Declared) -> dict[str, float]:
    return {
        setting: slack
        for rule in part.uses.get("credit", ())
        for keyword, slack in shares("credit", rule).items()
        if (setting := part.passes.get((rule, keyword)))
    }


def _dose(setting: str, value: float, paper: float, num_tokens: int, slack: float) -> Dose:
    if not 0 < value <= 1:
        raise ValueError(f"{setting}={value}: it is a fraction in (0, 1] of the step's tokens; 0.2 % is 0.002")
    found = int(value * num_tokens + slack)
    tokens = max(1, found)
    return Dose(setting, value, paper, tokens, tokens / num_tokens, _warning(setting, value, paper, num_tokens, found))


def _warning(setting: str, value: float, paper: float, num_tokens: int, found: int) -> str:
    if paper and value / paper >= PERCENT:
        meant = f"; if {value:g} % is meant, write {value / 100:g}"
        return f"{setting}={value:g} is {100 * value:g} % of the tokens, {value / paper:.3g} times the paper{meant}"
    if found < 1:
        times = 1 / (value * num_tokens)
        return f"{setting}={value:g} is {value * num_tokens:.2g} tokens, so one is taken: {times:.3g} times what is set"
    return ""


def _sentences(doc: str) -> list[str]:
    """The sentences below a docstring's first line, without its formulas; a heading becomes ``Heading: ``."""
    kept = [line for line in doc.splitlines()[1:] if not line.startswith(" ")]
    marked = [re.sub(r"^([A-Z][\w' -]*?)  (?=\S)", r"\1: ", line) for line in kept]
    text = " ".join(line or "\n" for line in marked)
    return [part.strip() for part in re.split(r"(?<=[.])\s+(?=[A-Z\"])|\n", text) if part.strip()]
