"""Adds a capped bonus for hidden states of more rank, or of faster growing rank, than usual (arXiv:2509.23808).

    dev_x = clip((x - mid_x) / (|mid_x| + 1e-8), -5, 5)     for x of rank, velocity, acceleration
    beta = sigmoid(gain dev_acceleration)
    aux = weight (beta tanh(dev_rank) + (1 - beta) tanh(dev_velocity))
    A' = A + min(max(aux, 0), |A| / kappa)                  on every token of the row

``mid`` are running means of earlier steps. While mid_rank is 0 there is nothing to compare with and no row is changed;
a mid of 0 alone makes its own dev 0. A row too short for a statistic (nan) is left alone. No sign changes.

Differs from the reference code in four ways: the bonus never also enters the reward, it reaches every token of the row
and not its last one only, and a mean that has not begun yet, as a statistic that a short row has not, counts as unknown
and not as 0.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import CreditRule, Key, declares
from forkpoint.credit.entropy_shaping import check_kappa

LIVELY = {"mid_rank": 10.0, "mid_velocity": 0.5, "mid_acceleration": 0.5}
"""means that have begun; before that no row is changed"""


def rank_bonus(
    *,
    gain: float = 2.0,
    kappa: float = 2.0,
    weight: float = 1.0,
    mid_rank: float = 0.0,
    mid_velocity: float = 0.0,
    mid_acceleration: float = 0.0,
) -> CreditRule:
    """A' = A + min(max(aux, 0), |A| / kappa) by each row's rank statistics; gain, weight and mid_rank >= 0, kappa >= 1.

    ValueError otherwise, and for a step without ``rank``.

    >>> zeros, on = torch.zeros(3, 1), torch.ones(3, 1, dtype=torch.bool)
    >>> rank = torch.tensor([[60.0, 12.0, 4.0, 0.0, 0.0, 0.0]]).expand(3, 6)
    >>> step = StepBatch(zeros, zeros, on, torch.tensor([1.0, -1.0, 0.2]), rank=rank)
    >>> rule = rank_bonus(mid_rank=50.0, mid_velocity=10.0, mid_acceleration=3.0)
    >>> rule(step, Plan.neutral(step), (0, 0)).advantage[:, 0]       # aux = tanh(0.2) = 0.197375, at most |A| / 2
    tensor([ 1.1974, -0.8026,  0.3000])
    """
    for name, value in (("gain", gain), ("weight", weight), ("mid_rank", mid_rank)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}={value}: it must be finite and 0 or more")
    for name, value in (("mid_velocity", mid_velocity), ("mid_acceleration", mid_acceleration)):
        if not -1e6 <= value <= 1e6:
            raise ValueError(
                f"{name}={value}: it is a mean of differences of ranks, which no model's hidden size allows"
            )
    check_kappa(kappa)

    @declares(row_local=True, advantage="shaped")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        if step.rank is None:
            raise ValueError("StepBatch.rank is not filled and rank_shaping reads it: record the hidden states' rank")
        if mid_rank == 0:
            return plan
        rank, velocity, acceleration = step.rank[:, :3].detach().double().unbind(1)
        beta = torch.sigmoid(gain * _deviation(acceleration, mid_acceleration))
        aux = beta * _deviation(rank, mid_rank).tanh() + (1 - beta) * _deviation(velocity, mid_velocity).tanh()
        aux = (weight * aux).nan_to_num(nan=0.0).clamp(min=0).to(plan.advantage.dtype)
        return replace(plan, advantage=plan.advantage + torch.minimum(aux.unsqueeze(1), plan.advantage.abs() / kappa))

    return rule


def _deviation(value: Float[Tensor, " B"], mid: float) -> Float[Tensor, " B"]:
    """How far from usual, as a share of what is usual; 0 where nothing is known."""
    return ((value - mid) / (abs(mid) + 1e-8)).clamp(-5, 5) if mid else torch.zeros_like(value)
