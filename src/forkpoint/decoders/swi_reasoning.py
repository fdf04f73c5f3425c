"""SwiReasoning: think softly until the model is surer, in tokens until it is less sure, and back (arXiv:2510.05069).

    H        = entropy of the raw next-token distribution p, all ids
    ref      = H on entering a mode; thinking starts softly
    switch   from soft to tokens where H < ref, counted;  from tokens to soft where H > ref after ``dwell`` steps
    soft     input sum_v p_v E[v];  on entering a sum_v p_v E[v] + (1 - a) E[begin]
    tokens   input E[token];        on entering b sum_v p_v E[v] + (1 - b) E[end]
    a        = alpha + (1 - alpha) t / T, b likewise from beta; T the most tokens of the completion

Recorded is the draw, also while soft; one that may end thinking is read as itself, and so is the answer. With a cap C
the end marker is put at every switch from the C-th on. Where the model begins to think again and passes 2C, the row
stops ``last`` tokens after the marker.

Settings of the paper  dwell 512, beta .7, no cap or one of 1 to 6, last 32, T .6, top-p .95, top-k 20. alpha is tuned
per data set (.3 to 1) and 1 where nothing is said, which mixes nothing in on entering soft.
Worked number  dwell 2, H = 1, 1.2, .8, .9, .9, .7: soft, soft, token (ref .8), token, soft (ref .9), token.
Differs from the authors' code: an answer never turns soft, where the code goes on switching after a marker it put; the
marker is put at the switch and not one token later; past 2C it alone cues the answer, where the code adds English;
no mathematical symbol is kept out of soft thinking; no line break is mixed into the first step. That entering tokens
mixes the mean embedding, not the token's, is the code's way.
Pitfalls  Where the prompt begins the thinking there is no begin marker, and entering soft mixes nothing in, whatever
alpha is. max_topk 0 mixes all ids: V by d numbers are read per step. A thought shorter than the dwell never turns back.
A second thought goes on in the mode, and with the ref, that the first ended in.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from forkpoint.decoders._decoder import Decoder, decoder
from forkpoint.decoders._machine import Action, Look, Mixture, State, one_hot_unless, single
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._policy import Policy
from forkpoint.decoders._words import ends, heaviest

LIVELY = {"dwell": 12, "cap": 3}


@decoder
def swi_reasoning(
    *,
    dwell: int = 512,
    alpha: float = 1.0,
    beta: float = 0.7,
    cap: int = 0,
    last: int = 32,
    max_topk: int = 0,
    temperature: float = 0.6,
    top_k: int = 20,
    top_p: float = 0.95,
    min_p: float = 0.0,
    entropy: Entropy = "raw",
) -> Decoder:
    """One completion. dwell >= 0; alpha, beta in [0, 1]; cap >= 0 (0: none); last >= 1; max_topk >= 0 (0: all ids).

    ``entropy`` is what it switches by.
    """
    warp = Warp(temperature, top_k, top_p, min_p)
    return single(SwiReasoning(warp, Switch(dwell), alpha, beta, cap, last, max_topk, entropy), thinks=True)


@dataclass(frozen=True)
class Switch:
    """Which rows change their mode."""

    dwell: int

    def __post_init__(self) -> None:
        if self.dwell < 0:
            raise ValueError(f"dwell={self.dwell}: it is a number of steps, at least 0")

    def step(self, state: State, entropy: Float[Tensor, " N"], thinks: Bool[Tensor, " N"]) -> State:
        """``soft``, ``stay`` and ``ref`` after a step, and who turned ``hard`` or softened (``melt``) in it.

        >>> state = {"soft": torch.tensor([True]), "stay": torch.tensor([0]), "ref": torch.tensor([torch.nan])}
        >>> for h in (1.0, 1.2, 0.8, 0.9, 0.9, 0.7):
        ...     state = Switch(2).step(state, torch.tensor([h]), torch.tensor([True]))
        ...     print("soft" if state["soft"] else "token", end=" ")
        soft soft token token soft token
        """
        stay = state["stay"] + thinks
        # the first step compares with nan, which is neither above nor below
        hard = thinks & state["soft"] & (entropy < state["ref"])
        melt = thinks & ~state["soft"] & (entropy > state["ref"]) & (stay >= self.dwell)
        turned = hard | melt
        return {
            "soft": state["soft"] & ~hard | melt,
            "stay": torch.where(turned, 0, stay),
            "ref": torch.where(turned | thinks & state["ref"].isnan(), entropy, state["ref"]),
            "hard": hard,
            "melt": melt,
        }


@dataclass(frozen=True)
class SwiReasoning:
    warp: Warp
    switch: Switch
    alpha: float
    beta: float
    cap: int
    last: int
    max_topk: int
    reads: Entropy

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1 or not 0 <= self.beta <= 1:
            raise ValueError(f"alpha={self.alpha}, beta={self.beta}: both are shares in [0, 1]")
        if self.cap < 0 or self.last < 1 or self.max_topk < 0:
            raise ValueError(
                f"cap={self.cap}, last={self.last}, max_topk={self.max_topk}: cap counts switches (0: none), last "
                "tokens, at least 1, max_topk ids (0: all)"
            )

    def init(self, num: int, policy: Policy) -> State:
        device = policy.model.device
        no, none = torch.zeros(num, dtype=torch.bool, device=device), torch.zeros(num, dtype=torch.long, device=device)
        modes = {"soft": ~no, "stay": none, "ref": torch.full((num,), torch.nan, device=device), "hard": no, "melt": no}
        return {**modes, "switches": none, "left": torch.full_like(none, -1)}

    def step(self, state: State, look: Look) -> tuple[State, Action]:
        token = look.next.draw(look.luck())
        over = look.ends_thinking(token)
        thinks = look.thinking & look.free
        modes = self.switch.step(state, look.next.entropy(self.reads), thinks)
        switches = state["switches"] + modes["hard"]
        tell = modes["hard"] & (switches >= self.cap) if self.cap else torch.zeros_like(thinks)
        left = torch.where(state["left"] > 0, state["left"] - look.free.long(), state["left"])
        left = torch.where(tell & (switches > 2 * self.cap) & (left < 0), self.last, left)
        soft = (modes["soft"] & thinks | modes["hard"]) & ~over
        mixture = one_hot_unless(soft, token, *self.mixture(look, modes))
        state = {**modes, "switches": switches, "left": left}
        return state, Action(token, mixture, ends(look, tell), left == 0)

    def mixture(self, look: Look, modes: State) -> Mixture:
        """The mean input, with a marker's embedding mixed in on a switch; a marker's several ids weigh the same."""
        ids, p = heaviest(look.next.raw_logp.exp(), self.max_topk or look.next.logits.shape[-1])
        marker = look.markers
        for rows, share, mixed in [
            (modes["melt"], self.alpha, marker.begin if marker else ()),
            (modes["hard"], self.beta, marker.end if marker else ()),
        ]:
            if mixed:
                kept = torch.where(rows, share + (1 - share) * look.at / look.row["limit"], 1.0)
                ids, p = with_marker(ids, p, kept.to(p.dtype), mixed)
        return ids, p


def with_marker(
    ids: Int[Tensor, "N K"], p: Float[Tensor, "N K"], kept: Float[Tensor, " N"], marker: tuple[int, ...]
) -> tuple[Int[Tensor, "N L"], Float[Tensor, "N L"]]:
    """``kept`` of the mixture, and the rest of the marker's mean embedding."""
    extra = torch.tensor(marker, device=ids.device).expand(len(ids), -1)
    weight = ((1 - kept) / len(marker))[:, None].expand(-1, len(marker))
    return torch.cat([ids, extra], 1), torch.cat([p * kept[:, None], weight], 1)
