"""Think Just Enough: end thinking once a reasoning step's mean entropy is at or below a threshold (arXiv:2510.08146).

    H_t  = entropy of the twenty likeliest ids, renormalized
    stop = mean of H_t over one step of reasoning <= threshold

and the answer is written from there. A step is ``window`` tokens here; the paper's text does not fix its length.
The paper gives thresholds in bits, from a calibration set: the mean over right answers, that mean plus
sigma ln(1 + |d|) with Cohen's d against wrong ones, and the Bayes boundary. ``thresholds`` computes them, in nats.

Worked number  probabilities .7, .1 and eighteen of .2 / 18: 1.99076 bits = 1.37989 nats.
Pitfalls  Twenty ids hold at most ln 20 = 2.996 nats and no tail. The signal is reported to be absent in models that
were only instruction-tuned. A threshold is a property of model and task: calibrate it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple

import torch

from forkpoint.decoders._decoder import Decoder, decoder
from forkpoint.decoders._machine import Action, Look, State, single
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._policy import Policy
from forkpoint.decoders._stops import StepMean
from forkpoint.decoders._words import ends


@decoder
def entropy_stop(
    *,
    threshold: float = 0.5,
    window: int = 32,
    temperature: float = 0.6,
    top_k: int = 0,
    top_p: float = 0.95,
    min_p: float = 0.0,
    entropy: Entropy = "top20",
) -> Decoder:
    """One completion. ``threshold`` in nats, at least 0; ``window`` tokens are a step; ``entropy`` is what it reads.

    The default threshold is no paper's: calibrate it with ``thresholds``.
    """
    warp = Warp(temperature, top_k, top_p, min_p)
    return single(EntropyStop(warp, StepMean(threshold, window), entropy), thinks=True)


@dataclass(frozen=True)
class EntropyStop:
    warp: Warp
    rule: StepMean
    reads: Entropy

    def init(self, num: int, policy: Policy) -> State:
        device = policy.model.device
        return {"sum": torch.zeros(num, device=device), "tokens": torch.zeros(num, dtype=torch.long, device=device)}

    def step(self, state: State, look: Look) -> tuple[State, Action]:
        counted = look.thinking & look.free
        over = counted & self.rule.over(state["sum"], state["tokens"])
        total, tokens = self.rule.count(state["sum"], state["tokens"], look.next.entropy(self.reads), counted)
        return {"sum": total, "tokens": tokens}, Action(look.next.draw(look.luck()), put=ends(look, over))


class Thresholds(NamedTuple):
    """Of step entropies, in the unit that was given."""

    mean: float
    """of right answers"""
    shifted: float
    """mean + sigma ln(1 + |d|), with Cohen's d of right against wrong"""
    bayes: float
    """where two normal densities of equal weight meet, between the means; nan where they do not"""


def thresholds(right: Sequence[float], wrong: Sequence[float]) -> Thresholds:
    """The paper's thresholds from the entropies of right and of wrong answers; two of each at least.

    Raises ValueError for fewer.

    >>> found = thresholds([0.0, 1.0, 2.0], [3.0, 4.0, 5.0])        # means 1 and 4, both sigma 1: d = -3, boundary 2.5
    >>> found.mean, round(found.shifted, 4), found.bayes                                        # 1 + ln 4
    (1.0, 2.3863, 2.5)
    """
    if min(len(right), len(wrong)) < 2:
        raise ValueError(f"thresholds: {len(right)} right and {len(wrong)} wrong answers; give two of each or more")
    center, other, spread, wide = mean(right), mean(wrong), stdev(right), stdev(wrong)
    pooled = math.sqrt(((len(right) - 1) * spread**2 + (len(wrong) - 1) * wide**2) / (len(right) + len(wrong) - 2))
    distance = abs(center - other) / pooled if pooled else math.inf
    shifted = center + spread * math.log1p(distance) if spread else center
    return Thresholds(center, shifted, _meeting(center, spread, other, wide))


def _meeting(mean: float, sigma: float, other: float, wide: float) -> float:
    """The point between two means at which their normal densities are equal."""
    if sigma == wide:
        return (mean + other) / 2
    if not sigma or not wide:
        return math.nan
    a, b = 1 / wide**2 - 1 / sigma**2, 2 * (mean / sigma**2 - other / wide**2)
    c = other**2 / wide**2 - mean**2 / sigma**2 + 2 * math.log(wide / sigma)
    root = b * b - 4 * a * c
    points = [(-b + sign * math.sqrt(root)) / (2 * a) for sign in (1, -1)] if root >= 0 else []
    low, high = min(mean, other), max(mean, other)
    return next((point for point in points if low <= point <= high), math.nan)
