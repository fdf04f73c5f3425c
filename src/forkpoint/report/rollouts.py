"""Twenty rollouts, early and late, right and wrong, with every token colored by its entropy."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

from forkpoint.labels import Label
from forkpoint.record.read import Run
from forkpoint.report._choice import chosen, verdict_of
from forkpoint.report._section import Section
from forkpoint.report._series import arm_names, definitions
from forkpoint.report._text import nats, number, sentence, shorten, visible

ORDER = 90
EDGES = (0.02, 0.1, 0.3, 0.6, 1.0, 1.6)
"""nats where the shade of a token changes; fixed, so that two pages compare"""
MOST_TOKENS = 400
LONGEST_TOKEN = 40
LONGEST_PROMPT = 1000


class Token(NamedTuple):
    text: str
    shade: int
    """0 .. len(EDGES), or -1 where the entropy is not finite"""
    role: str
    told: str
    """all of its readings, as one line"""


class Rollout(NamedTuple):
    arm: int
    name: str
    step: int
    half: str
    prompt: str
    tokens: Sequence[Token]
    num_left_out: int
    sign: str
    verdict: str
    reason: str
    facts: Sequence[str]


def rollouts(runs: Sequence[Run]) -> Section | None:
    """None where no run kept rollouts."""
    halves = [(half, arm, row) for half in ("early", "late") for arm, row in chosen(runs, half)]
    if not halves:
        return None
    names = arm_names(runs)
    shown = [_rollout(row, arm, names[arm], half) for half, arm, row in halves]
    return Section(
        "Rollouts",
        _finding(halves),
        definitions=definitions(runs, "entropy/full", "entropy/sampled"),
        notes=["Picked by a fixed rule: in turn over verdicts and runs, in recorded order, a new prompt first."],
        template="rollouts.html.jinja",
        content={
            "rollouts": shown,
            "arms": sorted({(one.arm, one.name) for one in shown}),
            "scale": _scale(),
        },
    )


def _rollout(row: Mapping[str, Any], arm: int, name: str, half: str) -> Rollout:
    sign, verdict = verdict_of(row)
    tokens = row.get("tokens") or []
    return Rollout(
        arm,
        name,
        int(row["step"]),
        half,
        shorten(str(row.get("prompt", "")), LONGEST_PROMPT),
        [_token(row, index) for index in range(min(len(tokens), MOST_TOKENS))],
        max(0, len(tokens) - MOST_TOKENS),
        sign,
        verdict,
        shorten(str(row.get("verdict_reason") or ""), LONGEST_PROMPT),
        _facts(row),
    )


def _facts(row: Mapping[str, Any]) -> list[str]:
    """Reward, advantage and what the task says of the answer."""
    numbers = [f"{key} {number(row[key], 2)}" for key in ("reward", "advantage") if row.get(key) is not None]
    try:
        traits = json.loads(row.get("traits") or "{}")
    except ValueError:
        traits = {"traits": row["traits"]}
    pairs = traits.items() if isinstance(traits, dict) else [("traits", traits)]
    return [*numbers, *(shorten(f"{key} {_plain(value)}", LONGEST_TOKEN) for key, value in pairs)]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _token(row: Mapping[str, Any], index: int) -> Token:
    entropy, logp = _at(row, "entropy", index), _at(row, "logp_sampler", index)
    label, weight = _at(row, "label", index), _at(row, "weight", index)
    text = visible(shorten(str(row["tokens"][index]), LONGEST_TOKEN), keep="")
    role = Label(int(label)).name.lower() if label in list(Label) else "other"
    told = [
        f"“{text}”",
        f"entropy {nats(entropy)}" if entropy is not None else "entropy not recorded",
        *([f"log-prob {number(logp)}"] if logp is not None else []),
        role,
        *([f"weight {number(weight, 2)}"] if weight is not None else []),
        *(["marked"] if _at(row, "mark", index) else []),
    ]
    return Token(text, shade(entropy), role, " · ".join(told))


def _at(row: Mapping[str, Any], key: str, index: int) -> Any:
    """A reading of one token; None where the run kept none."""
    values = row.get(key)
    return values[index] if values is not None and index < len(values) else None


def shade(entropy: float | None) -> int:
    """Which of the shades a token has: the number of ``EDGES`` at or below its entropy.

    >>> shade(0.0), shade(0.3), shade(2.0), shade(float("nan"))
    (0, 3, 6, -1)
    """
    if entropy is None or not isfinite(entropy):
        return -1
    return sum(entropy >= edge for edge in EDGES)


def _scale() -> list[tuple[int, str]]:
    inner = [f"{low:g}–{high:g}" for low, high in pairwise(EDGES)]
    return list(enumerate([f"< {EDGES[0]:g}", *inner, f"≥ {EDGES[-1]:g}"]))


def _finding(halves: Sequence[tuple[str, int, Mapping[str, Any]]]) -> str:
    """How the shown tokens differ: the share that is nearly certain, early and late."""
    shares: list[str] = []
    for half in ("early", "late"):
        values = [v for name, _, row in halves if name == half for v in row.get("entropy") or [] if isfinite(v)]
        if values:
            certain = sum(value < EDGES[1] for value in values) / len(values)
            shares.append(f"{certain:.0%} of {len(values):,} tokens in the {half} ones")
    text = f"in {len(halves)} rollouts picked by a fixed rule"
    return sentence(
        f"{text}, the policy was nearly certain (below {EDGES[1]} nats) at {' and '.join(shares)}"
        if shares
        else f"{text}, none holds token entropies"
    )
