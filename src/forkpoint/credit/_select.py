"""Choosing tokens of a whole step: by rank or by draw, the same tokens however the step is ordered, padded or cut.

Nothing here depends on where a row lies in the batch: draws hash the row's identity, and ties go to the smaller
(row_id, position).
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num, UInt64
from numpy import ndarray
from torch import Tensor

_WORD = 2**64 - 1


def quota(share: float, mask: Bool[Tensor, "B T"]) -> int:
    """How many tokens ``share`` of the step's N stands for: max(1, floor(share N)), and 0 where share or N is 0.

    >>> mask = torch.ones(2, 500, dtype=torch.bool)
    >>> quota(0.0021, mask), quota(2e-4, mask), quota(0.0, mask)      # 2.1 -> 2, 0.2 -> at least 1, none asked
    (2, 1, 0)
    """
    num_tokens = int(mask.sum())
    return max(1, int(share * num_tokens)) if share > 0 and num_tokens > 0 else 0


def check_share(share: float) -> None:
    """ValueError unless ``share`` is a fraction of the step's tokens."""
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: it is a fraction of the step's tokens, from 0 to 1; 0.2 % is 0.002")


def top_by_score(
    score: Float[Tensor, "B T"], among: Bool[Tensor, "B T"], num: int, identity: Int[Tensor, " B"]
) -> Bool[Tensor, "B T"]:
    """The ``num`` highest scores among the candidates (all of them where there are fewer).

    >>> score = torch.tensor([[1.0, 3.0], [3.0, 2.0]])
    >>> top_by_score(score, score < 9, 1, torch.tensor([7, 4]))      # a tie at 3: row 4 goes before row 7
    tensor([[False, False],
            [ True, False]])
    """
    return _smallest(-score, among, num, identity)


def draw_by_hash(
    among: Bool[Tensor, "B T"], num: int, identity: Int[Tensor, " B"], key: tuple[int, int]
) -> Bool[Tensor, "B T"]:
    """``num`` candidates drawn uniformly without replacement (all of them where there are fewer).

    They are those with the smallest hash of (seed, step, row_id, position), so a candidate's luck does not depend on
    who else is in the batch, and no state of a random generator has to be saved or kept equal over ranks.
    """
    # a signed view reorders the hashes by their top bit, the same way everywhere: still a uniform draw
    luck = token_hash(identity.cpu().numpy(), among.shape[1], key).view(np.int64)
    return _smallest(torch.as_tensor(luck, device=among.device), among, num, identity)


def token_hash(
    identity: Int[ndarray, " B"], num_tokens: int, key: tuple[int, int]
) -> UInt64[ndarray, "B {num_tokens}"]:
    """A 64-bit hash of (seed, step, row_id, position) for every token: SplitMix64 folded over the four words.

    On the CPU in unsigned integers, so that every device and every rank gets the same bits.
    """
    rows, positions = identity.astype(np.uint64)[:, None], np.arange(num_tokens, dtype=np.uint64)
    run_seed, step = (np.array([word & _WORD], dtype=np.uint64) for word in key)
    return mix(mix(mix(mix(run_seed) ^ step) ^ rows) ^ positions)


def mix(word: UInt64[ndarray, "*N"]) -> UInt64[ndarray, "*N"]:
    """One output of SplitMix64 from state ``word`` (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195).

    >>> hex(mix(np.array([0], dtype=np.uint64))[0])                   # the generator's published first output
    '0xe220a8397b1dcdaf'
    """
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _smallest(
    order: Num[Tensor, "B T"], among: Bool[Tensor, "B T"], num: int, identity: Int[Tensor, " B"]
) -> Bool[Tensor, "B T"]:
    """The ``num`` candidates that come first by (order, row_id, position)."""
    by_id = torch.argsort(identity, stable=True)
    candidates = among[by_id].flatten().nonzero().squeeze(1)
    first = torch.argsort(order[by_id].flatten()[candidates], stable=True)[:num]
    chosen = torch.zeros_like(among).flatten()
    chosen[candidates[first]] = True
    return chosen.view_as(among)[torch.argsort(by_id)]
