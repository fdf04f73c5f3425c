"""Write your own method in one file: this one. It then runs wherever a method's name is taken.

python examples/05_write_your_own_method.py
forkpoint train --method examples.05_write_your_own_method:forks_first     (from the repository's root)
"""

from dataclasses import replace

import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.methods import Method, method
from forkpoint.objectives.clip import clip


def weigh_by_entropy(strength: float):
    """A credit rule: tokens above the step's mean entropy count more, the others less. Sees the whole step."""

    def rule(step: StepBatch, plan: Plan, key: tuple[int, int]) -> Plan:
        mean = step.entropy[step.mask].mean()
        return replace(plan, weight=plan.weight * torch.exp(strength * (step.entropy - mean)).clamp(0.5, 2.0))

    return rule


@method
def forks_first(strength: float = 0.5, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """GRPO that spends its gradient where the policy hesitates. Our illustration, no paper."""
    return Method(
        credit=(weigh_by_entropy(strength),),
        objective=clip(clip_low=clip_low, clip_high=clip_high),
        reads=("entropy",),
        sets=("epsilon", "epsilon_high"),
    )


if __name__ == "__main__":
    step = StepBatch(
        logp=torch.full((1, 4), -1.0, requires_grad=True),
        logp_old=torch.full((1, 4), -1.0),
        mask=torch.ones(1, 4, dtype=torch.bool),
        advantage=torch.tensor([1.0]),
        entropy=torch.tensor([[0.0, 0.1, 1.5, 0.0]]),
    )
    print(forks_first())
    print("weights  ", forks_first().plan(step).weight)
    forks_first().step_loss(step).backward()
    print("gradient ", step.logp.grad)
