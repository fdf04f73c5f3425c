"""Marks all tokens of right answers, for an objective that also learns them by likelihood (arXiv:2508.07629).

An answer is right from a reward of 0.5 up: rewards of 0 and 1 and of -1 and 1 both fit. A row without a reward is not
marked.
"""

from dataclasses import replace

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import own_rewards
from forkpoint.credit._rule import CreditRule, Key, declares

RIGHT = 0.5
"""the smallest reward of a right answer"""


def right_answers() -> CreditRule:
    """Mark the tokens of rows whose reward is 0.5 or more; ValueError where the step brings no rewards.

    >>> import torch
    >>> zeros, on = torch.zeros(2, 2), torch.tensor([[True, True], [True, False]])
    >>> step = StepBatch(zeros, zeros, on, torch.ones(2), reward=torch.tensor([0.0, 1.0]))
    >>> right_answers()(step, Plan.neutral(step), (0, 0)).mark
    tensor([[False, False],
            [ True, False]])
    """

    @declares(row_local=True)
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        right = (own_rewards(step) >= RIGHT).unsqueeze(1)
        return replace(plan, mark=plan.mark | (right & step.mask))

    return rule
