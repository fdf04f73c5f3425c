"""Effective rank of hidden states, of every prefix too, in float64 (Roy & Vetterli 2007; arXiv:2509.23808).

The effective rank of a matrix is exp(H(p)), where p_j = s_j / sum(s) are its singular values as shares: 1 where the
states lie on a line, and the number of directions where they use all of them alike. It grows with the number of states,
so compare answers of one length, or beside ``iid_rank``, what states without any structure have.

Centering is over the tokens looked at, so a prefix has its own mean. With the Helmert rows

    w_i = sqrt(i / (i + 1)) (h_(i+1) - mean(h_1 .. h_i))

the centered scatter of the first n states is the sum of the first n - 1 products w w': the spectra of all prefixes are
those of the leading minors of one Gram matrix W W' (or, in fewer dimensions than that, of the sums themselves).
"""

import math
from functools import lru_cache
from math import nan, pi
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

LINALG: Any = torch.linalg
SPECIAL: Any = torch.special
"""torch gives these no types"""
STRIDE = 40
"""tokens between two prefixes, in the paper's code"""
WINDOW = 512
"""the last tokens of an answer that count"""


class Motion(NamedTuple):
    """How the effective rank of the prefixes changes; nan where there are too few of them."""

    velocity: float
    """mean distance of a prefix's effective rank from the mean of all earlier ones; from the second prefix on"""
    acceleration: float
    """mean change of that distance from one prefix to the next; from the third on"""


def effective_rank(states: Float[Tensor, "T D"], centered: bool = True) -> float:
    """exp(-sum_j p_j ln p_j) of the singular values, by an SVD in float64; from 1 to min(T - 1, D), or min(T, D).

    Unchanged by a rotation or a common factor. nan where every state is the same (or, not centered, zero) and where one
    is not finite. Differs from the reference code in adding nothing to p or to its logarithm.

    >>> states = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]])
    >>> round(effective_rank(states), 6), round(effective_rank(states, centered=False), 6)
    (2.600793, 2.814004)
    """
    wide = states.detach().cpu().double()
    if not len(wide) or not wide.isfinite().all():
        return nan
    return _of_singular_values(LINALG.svdvals(wide - wide.mean(0) if centered else wide))


def prefix_ranks(states: Float[Tensor, "T D"], stride: int = STRIDE) -> Float64[Tensor, " J"]:
    """The centered effective rank of the first stride + 1, 2 stride + 1, ... states, as many as there are.

    Eigenvalues of a Gram matrix know small singular values less well than an SVD does. What is below sqrt(T eps), 3e-7
    of the largest for 512 states, is taken for zero, which leaves a relative error below 1e-5 (tested beside the SVD).

    >>> prefix_ranks(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]]), stride=1)
    tensor([1.0000, 1.9286, 2.6008], dtype=torch.float64)
    """
    if stride < 1:
        raise ValueError(f"prefix_ranks: stride={stride}; give a number of tokens from 1, such as 40")
    sizes = range(stride, len(states), stride)
    return torch.tensor(_ranks(helmert_rows(states), list(sizes)), dtype=torch.float64)


def motion(ranks: Float64[Tensor, " J"]) -> Motion:
    """Velocity and acceleration of the effective ranks m_1 .. m_J of prefixes.

        d_j = m_j - mean(m_1 .. m_(j-1))        velocity = mean d_j        acceleration = mean (d_j - d_(j-1))

    A steady climb by 1 per prefix has d_j = j / 2, as the mean lags: velocity (J + 2) / 4, acceleration 1 / 2. The sum
    telescopes to (d_J - d_2) / (J - 2), so the acceleration knows only the two ends.

    >>> motion(torch.tensor([1.0, 2.0, 3.0]).double())                      # d = 1, 1.5
    Motion(velocity=1.25, acceleration=0.5)
    """
    if len(ranks) < 2:
        return Motion(nan, nan)
    before = ranks.cumsum(0)[:-1] / torch.arange(1, len(ranks))
    away = ranks[1:] - before
    steps = len(away) - 1
    return Motion(float(away.mean()), float(away[-1] - away[0]) / steps if steps else nan)


@lru_cache(maxsize=4096)
def iid_rank(length: int, dim: int) -> float:
    """The centered effective rank of ``length`` independent Gaussian states in ``dim`` dimensions, by Marchenko-Pastur.

    Their singular values follow that law in the limit. With 64 dimensions and more the mean of finite draws is at most
    0.5 % below this, with 8 at most 3 %. nan below two states.

    >>> [round(iid_rank(length, 512), 1) for length in (41, 81, 161, 321, 512)]
    [39.6, 78.4, 153.1, 288.8, 411.8]
    """
    least, most = sorted((length - 1, dim))
    if least < 1:
        return nan
    middle, half = 1 + least / most, 2 * (least / most) ** 0.5
    # s^2 = middle + half cos t turns the density of s into sin^2 t / s^2, smooth in t
    t = (np.arange(2000) + 0.5) / 2000 * pi
    squared = middle + half * np.cos(t)
    weight = np.sin(t) ** 2 / squared
    weight, s = weight / weight.sum(), np.sqrt(squared)
    mean = weight @ s
    return float(np.exp(np.log(least * mean) - weight @ (s * np.log(s)) / mean))


@lru_cache(maxsize=4096)
def iid_motion(length: int, dim: int, stride: int = STRIDE) -> Motion:
    """Velocity and acceleration of ``iid_rank`` over the prefixes of ``length`` independent Gaussian states.

    ``motion`` is linear in the ranks, so this is the mean over draws as far as ``iid_rank`` is. nan where
    ``prefix_ranks`` has too few.

    >>> [round(value, 2) for value in iid_motion(161, 512)]                 # prefixes of 41, 81, 121 and 161 states
    [57.01, 18.14]
    """
    return motion(torch.tensor([iid_rank(n + 1, dim) for n in range(stride, length, stride)], dtype=torch.float64))


def rank_statistics(
    hidden: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"], *, stride: int = STRIDE, window: int = WINDOW
) -> Float[Tensor, "B 6"]:
    """Effective rank, velocity and acceleration of each row's last ``window`` chosen tokens, then those of the null.

    What ``StepBatch.rank`` holds. The null is ``iid_rank`` and ``iid_motion`` of the row's length and dimension.
    A row of one token has no effective rank, one below 2 stride + 1 tokens no velocity, one below 3 stride + 1 no
    acceleration, and none of them a null: nan, never 0. A state that is not finite makes all of its row nan.

    >>> draw = torch.Generator().manual_seed(0)
    >>> found = rank_statistics(torch.randn(1, 20, 64, generator=draw), torch.ones(1, 20, dtype=torch.bool), stride=5)
    >>> [round(value, 1) for value in found[0].tolist()]            # near the null: no structure
    [18.1, 6.0, 2.3, 18.2, 6.0, 2.3]
    """
    rows = [_row(states[chosen][-window:], stride) for states, chosen in zip(hidden.detach(), mask, strict=True)]
    return torch.tensor(rows, dtype=torch.float32, device=hidden.device).view(-1, 6)


def helmert_rows(states: Float[Tensor, "T D"]) -> Float64[Tensor, "N D"]:
    """W, N = T - 1: the first n rows have the singular values of the first n + 1 states, centered."""
    wide = states.detach()
    wide = (wide.cpu() if wide.device.type == "mps" else wide).double()  # Apple GPUs have no float64
    wide = wide - wide[:1]  # else a common offset cancels only after it has cost digits
    num = torch.arange(1, len(wide), dtype=torch.float64, device=wide.device).unsqueeze(1)
    return (num / (num + 1)).sqrt() * (wide[1:] - wide.cumsum(0)[:-1] / num)


def _row(states: Float[Tensor, "N D"], stride: int) -> tuple[float, ...]:
    length, dim = states.shape
    if length < 2 or not states.isfinite().all():
        return (nan,) * 6
    sizes = [*range(stride, length, stride)]
    *prefixes, whole = _ranks(helmert_rows(states), [*sizes, length - 1])
    moved = motion(torch.tensor(prefixes, dtype=torch.float64))
    return (whole, *moved, iid_rank(length, dim), *iid_motion(length, dim, stride))


def _ranks(rows: Float64[Tensor, "N D"], sizes: list[int]) -> list[float]:
    """The effective rank of the first ``size`` rows, for each of ``sizes``, from the smaller of two Gram matrices."""
    dim = rows.shape[1]
    found: dict[int, float] = {}
    gram = (rows[:dim] @ rows[:dim].T).cpu()
    for size in dict.fromkeys(sizes):
        minor = gram[:size, :size] if size <= dim else (rows[:size].T @ rows[:size]).cpu()
        squared = LINALG.eigvalsh(minor) if minor.isfinite().all() else torch.full((1,), nan)
        floor = size * torch.finfo(torch.float64).eps * float(squared[-1])
        found[size] = _of_singular_values(torch.where(squared < floor, 0.0, squared).clamp(min=0).sqrt())
    return [found[size] for size in sizes]


def _of_singular_values(s: Float64[Tensor, " n"]) -> float:
    total = s.sum()
    if not total > 0:
        return nan
    p = s / total
    # entr(0) = 0
    return math.exp(float(SPECIAL.entr(p).sum()))
