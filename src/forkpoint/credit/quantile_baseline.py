"""Compares a reward with a quantile of its group instead of the mean (arXiv:2509.22611).

    A = (R - Q) / (std + 1e-6),    Q the ``quantile`` of the group's rewards, std with Bessel's correction

    estimator="empirical"    Q = min{x : F(x) >= quantile}, F the share of the group's rewards that are x or less
    estimator="linear"       torch.quantile's interpolation between two rewards

For rewards of 0 and 1 and a share p of right answers the empirical Q is 0 where p <= 1 - quantile and 1 elsewhere: hard
prompts teach by their right answers only, easy ones by their wrong ones only. Interpolation gives a Q in between
wherever quantile (G - 1) is not whole at the edge, and then both sides move. A row without a reward gets 0.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import group_rewards, own_rewards, with_advantage
from forkpoint.credit._rule import CreditRule, Key, declares

Estimator = Literal["empirical", "linear"]
"""how a quantile of few rewards is taken"""


def quantile_baseline(*, quantile: float = 0.4, estimator: Estimator = "empirical") -> CreditRule:
    """A = (R - Q) / (std + 1e-6) from the rewards of the row's group.

    quantile in [0, 1], estimator one of its words; ValueError otherwise.

    >>> zeros, on = torch.zeros(4, 1), torch.ones(4, 1, dtype=torch.bool)
    >>> reward = torch.tensor([1.0, 0.0, 0.0, 0.0])                  # p = 1/4 <= 1 - 0.4: only the right one moves
    >>> step = StepBatch(zeros, zeros, on, torch.ones(4), reward=reward, group=torch.zeros(4, dtype=torch.long))
    >>> quantile_baseline()(step, Plan.neutral(step), (0, 0)).advantage[:, 0]        # 1 / 0.5
    tensor([2.0000, 0.0000, 0.0000, 0.0000])
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile={quantile}: it is a fraction of the group, from 0 to 1; 40 % is 0.4")
    if estimator not in ("empirical", "linear"):
        raise ValueError(f"estimator={estimator!r}: choose 'empirical' or 'linear'")

    @declares(row_local=True, advantage="taken", baseline=True)
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        table = group_rewards(step).double()
        if not len(table):
            return plan
        found = empirical(table, quantile) if estimator == "empirical" else table.nanquantile(quantile, dim=1)
        num = (~table.isnan()).sum(1)
        spread = torch.nansum((table - table.nanmean(1, keepdim=True)) ** 2, 1) / (num - 1).clamp(min=1)
        advantage = (own_rewards(step).double() - found) / (spread.sqrt() + 1e-6)
        return with_advantage(step, plan, advantage, "quantile_advantage")

    return rule


def empirical(table: Float[Tensor, "B G"], quantile: float) -> Float[Tensor, " B"]:
    """The smallest entry x of each row such that a share ``quantile`` or more of it is x or less; nan does not count.

    >>> empirical(torch.tensor([[3.0, 1.0, 2.0, torch.nan]]), 0.5)           # 1/3 < 0.5 <= 2/3: the second
    tensor([2.])
    """
    num = (~table.isnan()).sum(1, keepdim=True)
    # j / n < quantile and not ceil(quantile n): 0.7 * 10 is 7.000000000000001
    below = torch.arange(1, table.shape[1] + 1, device=table.device) / num.double() < quantile
    place = below.sum(1, keepdim=True).clamp(max=table.shape[1] - 1).minimum((num - 1).clamp(min=0))
    return table.sort(1).values.gather(1, place)[:, 0]
