"""Compares a reward with the mean of the other rewards of its group (arXiv:2402.14740, RLOO).

    A_i = R_i - mean of R_j over the group's other answers = (R_i - mean of all n) n / (n - 1)

The baseline does not depend on the answer it is compared with, so the gradient estimate is unbiased. A row without a
reward, or whose group has no other reward, gets 0.
"""

import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import group_rewards, own_rewards, with_advantage
from forkpoint.credit._rule import CreditRule, Key, declares


def leave_one_out() -> CreditRule:
    """A = R - mean R of the others of the row's group; ValueError where the step brings no rewards.

    >>> zeros, on = torch.zeros(4, 1), torch.ones(4, 1, dtype=torch.bool)
    >>> reward = torch.tensor([1.0, 0.0, 0.0, 1.0])
    >>> step = StepBatch(zeros, zeros, on, torch.ones(4), reward=reward, group=torch.zeros(4, dtype=torch.long))
    >>> leave_one_out()(step, Plan.neutral(step), (0, 0)).advantage[:, 0]         # 1 - 1/3 and 0 - 2/3
    tensor([ 0.6667, -0.6667, -0.6667,  0.6667])
    """

    @declares(row_local=True, advantage="taken", baseline=True)
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        rewards, own = group_rewards(step).double(), own_rewards(step).double()
        num = (~rewards.isnan()).sum(1)
        others = (torch.nansum(rewards, 1) - own) / (num - 1)
        # alone, the mean of no reward is 0 / 0, or an inf where a host's own reward rounds otherwise than its table's
        return with_advantage(step, plan, torch.where(num > 1, own - others, 0.0), "rloo")

    return rule
