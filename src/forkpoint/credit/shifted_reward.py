"""REINFORCE on the answers that were sampled at another temperature on purpose (arXiv:2510.08141).

    A = coef [reward > threshold]    in shifted rows,    the host's A elsewhere

Only right answers of the shifted distribution teach, by the gradient of their log-prob under the policy itself; a
wrong one, or one without a reward, gets 0 and stays in the denominator.
"""

import math
from dataclasses import replace

import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import CreditRule, Key, declares


def shifted_reward(*, coef: float = 1.0, threshold: float = 0.5) -> CreditRule:
    """``coef`` for shifted rows whose reward is above ``threshold``; coef >= 0, threshold within 1e6, else ValueError.

    Raises ValueError for a step without ``shifted`` or ``reward``.

    >>> zeros, on = torch.zeros(3, 1), torch.ones(3, 1, dtype=torch.bool)
    >>> step = StepBatch(zeros, zeros, on, torch.tensor([-0.5, -0.5, -0.5]), reward=torch.tensor([1.0, 1.0, 0.0]),
    ...                  shifted=torch.tensor([False, True, True]))
    >>> shifted_reward(coef=2.0)(step, Plan.neutral(step), (0, 0)).advantage[:, 0]
    tensor([-0.5000,  2.0000,  0.0000])
    """
    if not 0 <= coef < math.inf:
        raise ValueError(f"coef={coef}: the weight of shifted answers must be finite and 0 or more")
    if not -1e6 <= threshold <= 1e6:
        raise ValueError(f"threshold={threshold}: give the reward above which an answer is right, such as 0.5")

    @declares(row_local=True, advantage="shaped")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        if step.shifted is None:
            raise ValueError("StepBatch.shifted is not filled: the host must say which rows it sampled otherwise")
        if step.reward is None:
            raise ValueError("StepBatch.reward is not filled and shifted rows are credited by it: fill it")
        earned = coef * (step.reward > threshold).to(plan.advantage.dtype)
        return replace(plan, advantage=torch.where(step.shifted.unsqueeze(1), earned.unsqueeze(1), plan.advantage))

    return rule
