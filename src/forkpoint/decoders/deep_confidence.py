"""DeepConf: weigh votes by confidence, drop the paths that lack it, stop them early (arXiv:2508.15260).

    C, group, scores                                                          ``_confidence``
    offline  every path to its end; keep those whose score is among the top eta %
    online   s = lowest-group score that the top eta % of ``warmup`` paths of this problem reach, of those that answer
             a later path stops once its last ``window`` tokens' mean C is below s
    answer   largest V(a) = sum of the scores of kept paths that give a
    enough   beta = V(a) / sum V >= consensus, looked at between waves of ``wave`` paths; online

Online, a path whose lowest group is below s is discarded, whenever it was written, and its tokens are counted. Waves
hold the budget as ``_waves`` says; where it ends before the warm-up does, s comes from the paths there are. A path that
its limit cut has no answer and sets no bar; where no warm-up path answers there is none.

Settings of the paper  k 20, window 2048, eta 90 ("high") or 10 ("low"), 16 warm-up paths, consensus .95, T .6, top-p
.95; 512 paths offline, 256 online at most. Offline its best is eta 10 with the tail score; online score is the lowest.
Worked number  warm-up scores 5, 6, .. 20: s = 6.5 at eta 90 and 18.5 at eta 10.
Differs from the authors' code: the consensus stop is there, and checked per wave, whose paths are decoded side by side;
the answer is the weighted one, which the code overwrites by a plain majority; k ids and not k + 1 are averaged; a path
stops after the token that was drawn, with no end token in its place; warm-up paths without an answer do not set s.
Pitfalls  A path shorter than the window is never stopped, only discarded once it is over: with 2048 and short answers
online spends what offline does, as it does where the budget ends in the warm-up; ``note`` says either. eta 90 of few
warm-up paths always discards the lowest of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from forkpoint.decoders._confidence import Score, bar, score_of, token_confidence
from forkpoint.decoders._decoder import Ask, Decode, Decoded, Decoder, Trace, decoder
from forkpoint.decoders._machine import Action, Look, State
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._policy import Policy
from forkpoint.decoders._stops import GroupMean
from forkpoint.decoders._vote import voted
from forkpoint.decoders._waves import More, waves

LIVELY = {"max_tokens": 40, "warmup": 3, "wave": 2, "window": 8, "eta": 50.0}
Mode = Literal["online", "offline"]
TIE = 1e-5
"""the bar is lower by it: a path that sets the bar passes it, also where other rows beside it change its last bits"""


@decoder
def deep_confidence(
    *,
    mode: Mode = "online",
    score: Score = "lowest",
    eta: float = 90.0,
    window: int = 2048,
    k: int = 20,
    warmup: int = 16,
    wave: int = 16,
    consensus: float = 0.95,
    max_tokens: int = 1024,
    max_paths: int = 512,
    temperature: float = 0.6,
    top_k: int = 0,
    top_p: float = 0.95,
    min_p: float = 0.0,
    entropy: Entropy = "raw",
) -> Decoder:
    """``eta`` percent in (0, 100]; ``consensus`` in (0, 1], counts >= 1.

    ``score`` weighs votes, and offline filters; ``entropy`` is recorded and decides nothing.
    """
    counts = {"window": window, "k": k, "warmup": warmup, "wave": wave}
    for name, value in (counts | {"max_tokens": max_tokens, "max_paths": max_paths}).items():
        if value < 1:
            raise ValueError(f"{name}={value}: it is a count, at least 1")
    if not 0 < eta <= 100 or not 0 < consensus <= 1:
        raise ValueError(f"eta={eta}, consensus={consensus}: a percentage in (0, 100] and a share in (0, 1]")
    machine = Confident(Warp(temperature, top_k, top_p, min_p), entropy, window, k)
    plan = Plan(mode, score, eta, window, warmup, wave, consensus, max_paths)

    def run(asked: Decode) -> list[Decoded]:
        found = zip(asked.asks, waves(asked, machine, max_tokens, plan.more), strict=True)
        return [plan.decided(ask, traces) for ask, traces in found]

    return Decoder(run, entropy)


@dataclass(frozen=True)
class Confident:
    """Samples; records C of every token, and stops a row whose last ``window`` tokens' mean is below its threshold."""

    warp: Warp
    reads: Entropy
    window: int
    k: int

    def init(self, num: int, policy: Policy) -> State:
        return {"recent": GroupMean(self.window).recent(num).to(policy.model.device)}

    def step(self, state: State, look: Look) -> tuple[State, Action]:
        confidence, group = token_confidence(look.next.raw_logp, self.k), GroupMean(self.window)
        recent = group.add(state["recent"], look.at, confidence.double())
        stop = group.below(recent, look.at, look.row["threshold"])
        return {"recent": recent}, Action(look.next.draw(look.luck()), stop=stop, confidence=confidence)


@dataclass(frozen=True)
class Plan:
    """When there are paths enough, which of them count, and how much."""

    mode: Mode
    score: Score
    eta: float
    window: int
    warmup: int
    wave: int
    consensus: float
    most: int

    def more(self, traces: Sequence[Trace]) -> More:
        room = self.most - len(traces)
        if self.mode == "offline":
            return More(room)
        if len(traces) < self.warmup:
            return More(min(room, self.warmup - len(traces)))
        return More(0 if self.agreed(traces) else min(room, self.wave), self.threshold(traces))

    def threshold(self, traces: Sequence[Trace]) -> float:
        """s, from the warm-up paths that answer; nothing is barred where none does."""
        return self.reached(traces[: self.warmup], "lowest")

    def reached(self, traces: Sequence[Trace], by: Score) -> float:
        """What the surest ``eta`` percent of those that answer reach; -inf where none does."""
        scores = [self.of(trace, by) for trace in traces if trace.answer is not None]
        return bar(scores, self.eta) - TIE if scores else -math.inf

    def agreed(self, traces: Sequence[Trace]) -> bool:
        votes = voted(Ask("", ()), self.weighed(traces)).votes.values()
        return bool(votes) and max(votes) >= self.consensus * math.fsum(votes)

    def weighed(self, traces: Sequence[Trace]) -> list[Trace]:
        """The paths with their weights, and whether they are kept."""
        by = "lowest" if self.mode == "online" else self.score
        least = self.threshold(traces) if self.mode == "online" else self.reached(traces, by)
        return [
            replace(
                trace,
                weight=self.of(trace, self.score),
                kept=trace.finish != "stopped" and self.of(trace, by) >= least,
            )
            for trace in traces
        ]

    def decided(self, ask: Ask, traces: Sequence[Trace]) -> Decoded:
        return replace(voted(ask, self.weighed(traces)), note=self.idle(traces))

    def idle(self, traces: Sequence[Trace]) -> str:
        """Why no path could be stopped early; empty where one could, or none should."""
        if self.mode == "offline" or self.agreed(traces):
            return ""
        if len(traces) <= self.warmup:
            return f"all paths were of the warm-up (warmup={self.warmup}), so none could be stopped early"
        if self.threshold(traces) == -math.inf:
            return "no warm-up path answered, so none could be stopped early"
        longest = max(len(trace.ids) for trace in traces)
        return "" if longest >= self.window else f"no path was as long as window={self.window}, so none was stopped"

    def of(self, trace: Trace, score: Score) -> float:
        return score_of(trace.confidence, self.window, score)
