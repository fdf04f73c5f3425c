"""Compares a reward with the mean of its group, without dividing by the spread (arXiv:2503.20783, Dr. GRPO).

    A = R - mean of the group's rewards

Divided by the standard deviation, prompts that are nearly always or nearly never solved would weigh most. A row without
a reward gets 0, and rewards that are missing do not count in the mean.
"""

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import group_rewards, own_rewards, with_advantage
from forkpoint.credit._rule import CreditRule, Key, declares


def group_mean() -> CreditRule:
    """A = R - mean R of the row's group; ValueError where the step brings no rewards.

    >>> import torch
    >>> zeros, on = torch.zeros(4, 1), torch.ones(4, 1, dtype=torch.bool)
    >>> reward = torch.tensor([1.0, 0.0, 0.0, 0.0])
    >>> step = StepBatch(zeros, zeros, on, torch.ones(4), reward=reward, group=torch.zeros(4, dtype=torch.long))
    >>> group_mean()(step, Plan.neutral(step), (0, 0)).advantage[:, 0]
    tensor([ 0.7500, -0.2500, -0.2500, -0.2500])
    """

    @declares(row_local=True, advantage="taken", baseline=True)
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        rewards = group_rewards(step).double()
        return with_advantage(step, plan, own_rewards(step).double() - rewards.nanmean(1), "the group mean")

    return rule
