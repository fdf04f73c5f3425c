"""Choosing tokens of a whole step: by rank or by draw, the same tokens however the step is ordered, padded or spread.

Nothing here depends on where a row lies: draws hash the row's identity, and ties go to the smaller (row_id, position).
A score of nan is never selected. ``num`` and the shares always count over all ranks.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from numpy import ndarray
from torch import Tensor

from forkpoint.batch import ALONE, Ranks
from forkpoint.credit._nth import as_key, as_score, host, near, nth, total
from forkpoint.draws import token_hash


class Draw(NamedTuple):
    """One choice of tokens, over all ranks."""

    asked: int
    found: int
    """how many of those asked for there were; fewer where too few qualified"""


_seen: ContextVar[list[Draw] | None] = ContextVar("forkpoint_draws", default=None)


@contextmanager
def seeing_draws() -> Generator[list[Draw], None, None]:
    """A list to which every choice made meanwhile is added; what is chosen does not change.

    >>> none = torch.zeros(1, 2, dtype=torch.bool)
    >>> with seeing_draws() as seen:
    ...     _ = draw_by_hash(none, 3, torch.tensor([0]), (0, 0))
    >>> seen
    [Draw(asked=3, found=0)]
    """
    seen: list[Draw] = []
    token = _seen.set(seen)
    try:
        yield seen
    finally:
        _seen.reset(token)


def quota(share: float, mask: Bool[Tensor, "B T"], ranks: Ranks | None = None) -> int:
    """How many tokens ``share`` of the step's N stands for: max(1, floor(share N)), and 0 of no tokens.

    >>> mask = torch.ones(2, 500, dtype=torch.bool)
    >>> quota(0.0021, mask), quota(2e-4, mask)      # 2.1 -> 2, 0.2 -> at least 1
    (2, 1)
    """
    (num_tokens,) = total(int(np.count_nonzero(host(mask))), ranks=ranks or ALONE)
    return max(1, int(share * num_tokens)) if num_tokens else 0


def check_share(share: float) -> None:
    """ValueError unless ``share`` is a fraction of the step's tokens; 0, which chooses none, is refused too."""
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: it is a fraction in (0, 1] of the step's tokens; 0.2 % is 0.002")


def top_by_score(
    score: Float[Tensor, "B T"],
    among: Bool[Tensor, "B T"],
    num: int,
    identity: Int[Tensor, " B"],
    ranks: Ranks | None = None,
) -> Bool[Tensor, "B T"]:
    """This rank's part of the ``num`` highest scores among the candidates (all of them where there are fewer).

    >>> score = torch.tensor([[1.0, 3.0], [3.0, 2.0]])
    >>> top_by_score(score, score < 9, 1, torch.tensor([7, 4]))      # a tie at 3: row 4 goes before row 7
    tensor([[False, False],
            [ True, False]])
    """
    if num <= 0:
        return torch.zeros_like(among)
    order, ranks = -host(score), ranks or ALONE

    def by_score(at: Int64[ndarray, " n"]) -> Int64[ndarray, " n"]:
        return as_key(order[at])

    found = near(order, host(among), num, num, ranks)
    columns = [by_score, *_by_identity(identity, among.shape[1], ranks)]
    found.below[_first(found.index, num - found.num_below, columns, ranks, asked=num)] = True
    return torch.as_tensor(found.below, device=among.device).view_as(among)


def draw_by_hash(
    among: Bool[Tensor, "B T"],
    num: int,
    identity: Int[Tensor, " B"],
    key: tuple[int, int],
    ranks: Ranks | None = None,
) -> Bool[Tensor, "B T"]:
    """This rank's part of ``num`` candidates drawn uniformly without replacement (all where there are fewer).

    They are those with the smallest hash of (seed, step, row_id, position), so a candidate's luck does not depend on
    who else is in the batch, and no state of a random generator has to be saved or kept equal over ranks.
    """
    if num <= 0:
        return torch.zeros_like(among)
    candidates, rows, length, ranks = host(among), host(identity), among.shape[1], ranks or ALONE

    def luck(at: Int64[ndarray, " n"]) -> Int64[ndarray, " n"]:
        # a signed view reorders the hashes by their top bit, the same way everywhere: still a uniform draw
        return token_hash(rows[at // length], at % length, key).view(np.int64)

    chosen = np.zeros_like(candidates)
    columns = [luck, *_by_identity(identity, length, ranks)]
    chosen[_first(np.flatnonzero(candidates), num, columns, ranks, asked=num)] = True
    return torch.as_tensor(chosen, device=among.device).view_as(among)


def kth_smallest(score: Float[Tensor, "B T"], among: Bool[Tensor, "B T"], k: int, ranks: Ranks | None = None) -> float:
    """The k-th smallest score among the candidates of all ranks, k from 1; nan scores do not count.

    Raises ValueError where there are fewer than k.

    >>> kth_smallest(torch.tensor([[5.0, 1.0, 3.0]]), torch.tensor([[True, True, False]]), 2)
    5.0
    """
    return _between(host(score), host(among), (k, k), ranks or ALONE)[0]


def quantile(score: Float[Tensor, "B T"], among: Bool[Tensor, "B T"], q: float, ranks: Ranks | None = None) -> float:
    """The score that a share ``q`` of the candidates of all ranks does not exceed, interpolated as torch.quantile does.

    Of N sorted scores x_0 .. x_(N-1) it is x at place q (N - 1), in float64. nan where there is no candidate, or where
    one is nan. Raises ValueError where q is outside [0, 1].

    >>> quantile(torch.tensor([[2.0, 0.0, 0.5]]), torch.ones(1, 3, dtype=torch.bool), 0.75)     # .75 * 2 = 1.5
    1.25
    """
    if not 0 <= q <= 1:
        raise ValueError(f"quantile: q={q}; give a share from 0 to 1, such as 0.8")
    scores, candidates, ranks = host(score), host(among), ranks or ALONE
    num, num_nan = total(int(np.count_nonzero(candidates)), _count_nan(scores, candidates), ranks=ranks)
    if num_nan or not num:
        return float("nan")
    place = q * (num - 1)
    low, high = _between(scores, candidates, (int(place) + 1, min(int(place) + 2, num)), ranks)
    part = place - int(place)
    # not low + (high - low) * part, whose difference may overflow; and 0 * inf would be nan
    return low if low == high or not part else (1 - part) * low + part * high


Column = Callable[[Int64[ndarray, " n"]], Int64[ndarray, " n"]]
"""tokens, by their place in the flattened step -> one key each"""


def _first(
    index: Int64[ndarray, " n"], num: int, columns: list[Column], ranks: Ranks, *, asked: int
) -> Int64[ndarray, " m"]:
    """This rank's part of the ``num`` tokens that come first by the first column, where equal by the next.

    ``asked`` tells those who look on how many the whole choice was for.
    """
    (size,) = total(len(index), ranks=ranks)
    if (seen := _seen.get()) is not None:
        seen.append(Draw(asked, asked - max(0, num - size)))
    if size <= num:
        return index
    taken: list[ndarray] = []
    for column in columns:
        keys = column(index)
        found = nth(keys, num, ranks)
        taken.append(index[keys < found.key])
        index, num = index[keys == found.key], num - found.below
        if found.ties == num:
            break
    return np.concatenate([*taken, index])


def _by_identity(identity: Int[Tensor, " B"], length: int, ranks: Ranks) -> list[Column]:
    """(row_id, position); tokens of two rows that bear one number go by rank and place, so that ``num`` is kept."""
    rows = host(identity).astype(np.int64)
    return [lambda at: rows[at // length], lambda at: at % length, lambda at: (ranks.index << 40) + at]


def _between(
    score: Float[ndarray, " N"], among: Bool[ndarray, " N"], places: tuple[int, int], ranks: Ranks
) -> tuple[float, float]:
    """The scores at two neighboring places, from 1, of the sorted candidates."""
    at = near(score, among, *places, ranks)
    keys, first, last = as_key(score[at.index]), *(place - at.num_below for place in places)
    found = nth(keys, first, ranks)
    above = found if last <= found.below + found.ties else nth(keys, last, ranks)
    return as_score(found.key), as_score(above.key)


def _count_nan(score: Float[ndarray, " N"], among: Bool[ndarray, " N"]) -> int:
    # the largest is quick to find, and nan where there is one, if only behind the mask
    return int(np.count_nonzero(among & np.isnan(score))) if len(score) and np.isnan(score.max()) else 0
