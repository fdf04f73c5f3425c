"""The advantage of an answer when the prompt's reward is that one of k answers is right (arXiv:2508.10751).

    rho = 1 - C(wrong, k) / C(n, k),    sigma = sqrt(rho (1 - rho)) + 1e-6
    A = (1 - rho) / sigma                                         of a right answer
    A = (1 - rho - C(wrong - 1, k - 1) / C(n - 1, k - 1)) / sigma     of a wrong one

n answers per prompt, ``wrong`` of them wrong: the average over all groups of k that could be drawn from them, in closed
form. A prompt's advantages add up to 0. Where every group of k has a right answer, or none has, they are all 0.
A row without a reward gets 0, and so does one whose prompt has fewer than k rewards.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import binary, group_rewards, own_rewards, with_advantage
from forkpoint.credit._rule import CreditRule, Key, declares

LIVELY = {"k": 2.0}
"""for groups of four: with k = 4 every advantage of theirs is 0"""


def pass_at_k_advantage(*, k: float = 4.0) -> CreditRule:
    """The pass@k advantage of every row; k a whole number from 1 to the group's size, ValueError otherwise.

    >>> zeros, on = torch.zeros(8, 1), torch.ones(8, 1, dtype=torch.bool)
    >>> reward = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])        # A = 1 and 2 (1/2 - 20/35) = -1/7
    >>> step = StepBatch(zeros, zeros, on, torch.ones(8), reward=reward, group=torch.zeros(8, dtype=torch.long))
    >>> pass_at_k_advantage()(step, Plan.neutral(step), (0, 0)).advantage[:2, 0]
    tensor([ 1.0000, -0.1429])
    """
    if not (k >= 1 and float(k).is_integer()):
        raise ValueError(f"k={k}: it counts answers, so it must be a whole number of 1 or more")

    @declares(row_local=True, advantage="taken", baseline=True)
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        table, own = group_rewards(step), own_rewards(step)
        if k > table.shape[1] and len(table):
            raise ValueError(f"k={k:g} exceeds the group's {table.shape[1]} completions: lower k, or sample more")
        num = (~table.isnan()).sum(1)
        wrong = num - binary(table, "pass_at_k").sum(1)
        right, fault = _advantages(num, wrong, int(k))
        advantage = torch.where(binary(own, "pass_at_k"), right, fault)
        return with_advantage(step, plan, torch.where(own.isnan() | (num < k), 0.0, advantage), "pass_at_k")

    return rule


def _advantages(
    num: Int[Tensor, " B"], wrong: Int[Tensor, " B"], k: int
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Of a right and of a wrong answer, in float64."""
    missed = _all_among(wrong, num, k)
    sigma = (missed * (1 - missed)).sqrt() + 1e-6
    return missed / sigma, (missed - _all_among(wrong - 1, num - 1, k - 1)) / sigma


def _all_among(part: Int[Tensor, " B"], whole: Int[Tensor, " B"], k: int) -> Float[Tensor, " B"]:
    """C(part, k) / C(whole, k), the chance that k drawn of ``whole`` all lie in ``part``, with no large factorial."""
    drawn = torch.arange(k, device=part.device)
    left = (part.unsqueeze(1) - drawn).clamp(min=0).double()
    return (left / (whole.unsqueeze(1) - drawn).clamp(min=1)).prod(1)
