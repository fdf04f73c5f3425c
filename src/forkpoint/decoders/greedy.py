"""Greedy decoding: the likeliest token, always; ``generate(do_sample=False)`` with no penalties set, token for token.

A baseline: one completion, no draw, so more budget than it needs buys nothing. Penalties, bans and beams that a model's
generation config asks for are not applied; ``forkpoint decode`` warns of them.
"""

from dataclasses import dataclass, field

from forkpoint.decoders._decoder import Decoder, decoder
from forkpoint.decoders._machine import Action, Look, State, single
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._policy import Policy


@decoder
def greedy(*, entropy: Entropy = "raw") -> Decoder:
    """argmax of the logits; of equals the smallest id. ``entropy`` is recorded and decides nothing."""
    return single(Greedy(entropy))


@dataclass(frozen=True)
class Greedy:
    reads: Entropy = "raw"
    warp: Warp = field(default_factory=Warp)

    def init(self, num: int, policy: Policy) -> State:
        return {}

    def step(self, state: State, look: Look) -> tuple[State, Action]:
        return state, Action(look.next.likeliest)
