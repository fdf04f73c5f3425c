"""The score that a top share of a step's tokens reaches, exactly, over all ranks: bisection on the bits of a float."""

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from forkpoint.batch import ALONE, Ranks

_SIGNLESS = 2**63 - 1


def top_score(
    score: Float[Tensor, "B T"], among: Bool[Tensor, "B T"], share: float, ranks: Ranks | None = None
) -> float:
    """The ceil(share N)-th largest of the N candidates' scores on all ranks; nan scores are no candidates.

    inf where there is no candidate. 64 rounds exchange one count each, however large the step is.

    >>> top_score(torch.tensor([[5.0, 1.0, 3.0, 9.0]]), torch.tensor([[True, True, True, False]]), 0.5)   # 2 of 5, 3, 1
    3.0
    """
    ranks = ranks or ALONE
    keys = _keys(score.detach()[among])
    # 1e-9: 0.2 * 15 is 3.0000000000000004 and means 3
    num = math.ceil(share * _total(len(keys), ranks) - 1e-9)
    low, high = -(2**63), 2**63 - 1  # the answer is in [low, high]
    if num < 1:
        return math.inf
    while low < high:
        middle = (low + high + 1) // 2
        if _total(int((keys >= middle).sum()), ranks) >= num:
            low = middle
        else:
            high = middle - 1
    return _score(low)


def _keys(scores: Float[Tensor, " n"]) -> Int64[Tensor, " m"]:
    """int64 numbers of the same order, of those that are not nan."""
    wide = scores.cpu().double()
    bits = (wide[~wide.isnan()] + 0.0).view(torch.int64)  # + 0.0: -0.0 is 0.0
    return torch.where(bits < 0, bits ^ _SIGNLESS, bits)


def _score(key: int) -> float:
    bits = torch.tensor(key if key >= 0 else key ^ _SIGNLESS)
    return float(bits.view(torch.float64))


def _total(count: int, ranks: Ranks) -> int:
    return int(ranks.sum(torch.tensor([count]))[0])
