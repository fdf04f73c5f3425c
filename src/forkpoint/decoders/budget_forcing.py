"""Budget forcing: make the model think longer, or exactly so long (arXiv:2501.19393; arXiv:2506.04210).

    waits   the first ``waits`` times that thinking would end, "Wait" takes the place of its end
    length  thinking ends after exactly so many tokens: earlier ends are replaced by as much of "Wait" as still fits,
            at ``length`` the end is put

The control for every claim that more thinking helps: accuracy first rises with the length, then falls, while answers
spread (2506.04210: a 1.5B model on GSM8K, 82.2 by itself, 87.3 at best, 70.3 at 16 thousand tokens).

Differs from published scripts: tokens are put as ids and never encoded again; every put token is counted.
Pitfalls  ``length`` counts thinking tokens, its end marker not among them. What a task writes in place of an end, such
as "Wait", may never have been seen in training; the tiny policy's "no try" was. An end of several tokens counts at its
first, as in the authors' script, since what the model has read stays read ("yes no try"): where that token also begins
other text, as "</" of a split "</think>" does, waits are spent on what ends nothing, and ``length`` replaces it too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from forkpoint.decoders._decoder import Decoder, decoder
from forkpoint.decoders._machine import Action, Look, Put, State, single
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._policy import Policy
from forkpoint.decoders._words import ends


@decoder
def budget_forcing(
    *,
    length: int = 0,
    waits: int = 1,
    temperature: float = 0.6,
    top_k: int = 0,
    top_p: float = 0.95,
    min_p: float = 0.0,
    entropy: Entropy = "raw",
) -> Decoder:
    """One completion. length >= 0 tokens (0: only ``waits`` counts), waits >= 0; ``entropy`` decides nothing."""
    return single(BudgetForcing(Warp(temperature, top_k, top_p, min_p), length, waits, entropy), thinks=True)


@dataclass(frozen=True)
class BudgetForcing:
    warp: Warp
    length: int
    waits: int
    reads: Entropy

    def __post_init__(self) -> None:
        if self.length < 0 or self.waits < 0:
            raise ValueError(f"length={self.length}, waits={self.waits}: both are counts, at least 0")

    def init(self, num: int, policy: Policy) -> State:
        if not policy.needs_markers("budget_forcing").again:
            raise ValueError("budget_forcing: no text of its vocabulary makes thinking go on; give --think-again")
        device = policy.model.device
        zeros = torch.zeros(num, dtype=torch.long, device=device)
        return {"waited": zeros, "thought": zeros, "complete": torch.tensor(policy.ends, device=device).expand(num, -1)}

    def step(self, state: State, look: Look) -> tuple[State, Action]:
        token = look.next.draw(look.luck())
        thinks = look.thinking & look.free
        over = thinks & (state["thought"] >= self.length) if self.length else torch.zeros_like(thinks)
        goes_on = thinks & ~over if self.length else thinks & (state["waited"] < self.waits)
        instead = [(goes_on & ending, ids) for ending, ids in _endings(look, token, state["complete"])]
        waited = state["waited"] + sum(rows.long() for rows, _ in instead)
        if self.length:
            instead = [part for each in instead for part in _within(*each, self.length - state["thought"])]
        state = {**state, "waited": waited, "thought": state["thought"] + look.thinking}
        return state, Action(token, put=(*instead, *ends(look, over)))


def _within(rows: Bool[Tensor, " N"], ids: tuple[int, ...], left: Int[Tensor, " N"]) -> Iterator[Put]:
    """As much of ``ids`` as the tokens that are left hold: ids that are being put give way to no end."""
    yield rows & (left >= len(ids)), ids
    for most in range(1, len(ids)):
        yield rows & (left == most), ids[:most]


def _endings(
    look: Look, token: Int[Tensor, " N"], complete: Int[Tensor, "N E"]
) -> Iterator[tuple[Bool[Tensor, " N"], tuple[int, ...]]]:
    """Rows whose token would end thinking, and what takes its place: the first token of a marker already does."""
    if look.markers is None:
        return
    for ids, instead in [(look.markers.end, look.markers.again), *look.markers.given_up.items()]:
        yield token == ids[0], instead
    yield (token[:, None] == complete).any(1), look.markers.again
