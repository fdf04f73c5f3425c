"""Soft Thinking with noise in the mixture, so that a thought is one of many (arXiv:2508.03440).

    gumbel     q = softmax((ln p_k + g_k) / gumbel_temperature),   g standard Gumbel
    dirichlet  q ~ Dirichlet(concentration p)

over the max_topk likeliest of the filtered ids, renormalized; recorded is argmax q. Everything else is Soft Thinking.

Settings of the paper  Gumbel at .5 or Dirichlet at 4; T .6, top-p .95, 15 kept; no Cold Stop.
Worked number  p = (.6, .3, .1): argmax q is drawn with frequencies p under Gumbel noise at any temperature, which only
sets how far the rest is mixed in; under Dirichlet at 4 with (.734, .222, .044), so a likely token gets likelier.
Differs from the authors' code: entropy in nats and not over ln V; noise is a function of seed, row, place and token.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.decoders._decoder import Decoder, decoder
from forkpoint.decoders._machine import Look, Mixture, single
from forkpoint.decoders._next import Entropy, Warp, refuse_temperature
from forkpoint.decoders._stops import ColdStop
from forkpoint.decoders._words import Answer, heaviest
from forkpoint.decoders.soft_thinking import SoftThinking
from forkpoint.draws import token_hash

Noise = Literal["gumbel", "dirichlet"]


@decoder
def randomised_soft_thinking(
    *,
    noise: Noise = "gumbel",
    gumbel_temperature: float = 0.5,
    concentration: float = 4.0,
    max_topk: int = 15,
    temperature: float = 0.6,
    top_k: int = 30,
    top_p: float = 0.95,
    min_p: float = 0.0,
    threshold: float = 0.0,
    patience: int = 256,
    answer: Answer = "sample",
    entropy: Entropy = "tempered",
) -> Decoder:
    """One completion, another for another seed. gumbel_temperature from 1e-6 to 1e6, concentration > 0."""
    warp, cold = Warp(temperature, top_k, top_p, min_p), ColdStop(threshold, patience)
    machine = Randomised(warp, max_topk, cold, answer, entropy, noise, gumbel_temperature, concentration)
    return single(machine, thinks=True)


@dataclass(frozen=True)
class Randomised(SoftThinking):
    noise: Noise
    gumbel_temperature: float
    concentration: float

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_temperature("gumbel_temperature", self.gumbel_temperature)
        if self.concentration <= 0:
            raise ValueError(f"concentration={self.concentration}: it must exceed 0")

    def mixture(self, look: Look) -> Mixture:
        ids, p = heaviest(look.next.filtered, self.max_topk)
        if self.noise == "gumbel":
            weights = gumbel_softmax(p, look.luck_of(ids), self.gumbel_temperature)
        else:
            weights = dirichlet(p, look, self.concentration)
        order = weights.argsort(dim=-1, descending=True, stable=True)
        return ids.gather(1, order), weights.gather(1, order)


def gumbel_softmax(p: Float[Tensor, "N K"], luck: Float[Tensor, "N K"], temperature: float) -> Float[Tensor, "N K"]:
    """softmax((ln p + g) / temperature) with g = -ln(-ln u); 0 where p is 0."""
    gumbel = -torch.log(-torch.log(luck.double()))
    return ((p.double().log() + gumbel) / temperature).softmax(-1).to(p.dtype)


def dirichlet(p: Float[Tensor, "N K"], look: Look, concentration: float) -> Float[Tensor, "N K"]:
    """One draw from Dirichlet(concentration p) per row; 0 where p is 0."""
    places = np.full(len(look.identity), look.at)
    keys = token_hash(look.identity, places, (look.seed, 3))
    drawn = [_gammas(row * concentration, int(key)) for row, key in zip(p.double().cpu().numpy(), keys, strict=True)]
    return torch.as_tensor(np.stack(drawn), device=p.device, dtype=p.dtype)


def _gammas(shape: np.ndarray, key: int) -> np.ndarray:
    drawn = np.random.Generator(np.random.Philox(key=key)).standard_gamma(shape)
    # with tiny shapes every draw may round to 0: then the likeliest alone
    return drawn / drawn.sum() if drawn.sum() > 0 else (shape == shape.max()) / (shape == shape.max()).sum()
