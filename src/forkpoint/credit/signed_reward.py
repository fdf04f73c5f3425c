"""Right answers get a small positive advantage, wrong ones -1, with no baseline (arXiv:2506.01347).

    A = positive    where reward >= threshold    (positive sample reinforcement)
    A = -1          where reward < threshold     (negative sample reinforcement)

Rewards of 0 and 1 are not used as they come: a wrong answer's 0 would teach nothing. A row without a reward gets 0.
"""

import math

import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import own_rewards, with_advantage
from forkpoint.credit._rule import CreditRule, Key, declares


def signed_reward(*, positive: float = 0.1, threshold: float = 0.5) -> CreditRule:
    """A = ``positive`` from ``threshold`` up, -1 below; positive >= 0 and a finite threshold, ValueError otherwise.

    >>> zeros, on = torch.zeros(3, 1), torch.ones(3, 1, dtype=torch.bool)
    >>> step = StepBatch(zeros, zeros, on, torch.ones(3), reward=torch.tensor([1.0, 0.0, torch.nan]))
    >>> signed_reward()(step, Plan.neutral(step), (0, 0)).advantage[:, 0]
    tensor([ 0.1000, -1.0000,  0.0000])
    """
    if not 0 <= positive < math.inf:
        raise ValueError(f"positive={positive}: the weight of right answers must be finite and 0 or more")
    if not -1e6 <= threshold <= 1e6:
        raise ValueError(f"threshold={threshold}: give the reward from which an answer is right, such as 0.5")

    @declares(row_local=True, advantage="taken")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        reward = own_rewards(step)
        sign = torch.where(reward >= threshold, reward.new_tensor(positive), -1.0)
        return with_advantage(step, plan, torch.where(reward.isnan(), reward, sign), "nsr")

    return rule
