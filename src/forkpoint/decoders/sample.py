"""Sampling: one draw per token after temperature, top-k, top-p and min-p, in this order.

A baseline. The filters are transformers' own; a draw is a function of seed, problem, sample and place, so that a
completion is the same in any batch.
"""

from dataclasses import dataclass

from forkpoint.decoders._decoder import Decoder, decoder
from forkpoint.decoders._machine import Action, Look, State, single
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._policy import Policy


@decoder
def sample(
    *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, entropy: Entropy = "raw"
) -> Decoder:
    """One completion. temperature from 1e-6 to 1e6, top_k a count (0: off), top_p in (0, 1], min_p in [0, 1).

    ``entropy`` is recorded and decides nothing.
    """
    return single(Sample(Warp(temperature, top_k, top_p, min_p), entropy))


@dataclass(frozen=True)
class Sample:
    warp: Warp
    reads: Entropy = "raw"

    def init(self, num: int, policy: Policy) -> State:
        return {}

    def step(self, state: State, look: Look) -> tuple[State, Action]:
        return state, Action(look.next.draw(look.luck()))
