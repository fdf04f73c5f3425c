"""Adds a capped share of a token's entropy to its advantage (arXiv:2506.14758).

    A' = A + min(alpha H, |A| / kappa)

H is the entropy at the token's position, detached, in nats. The bonus is never negative: a good answer's uncertain
tokens are rewarded more, a bad one's are punished less. For kappa >= 1 no advantage changes its sign.
"""

import math
from dataclasses import replace

import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import CreditRule, Key, declares


def entropy_shaping(*, alpha: float = 0.4, kappa: float = 2.0) -> CreditRule:
    """A' = A + min(alpha H, |A| / kappa) on every token; alpha >= 0, kappa >= 1, ValueError otherwise.

    >>> entropy = torch.tensor([[0.5, 2.0]])
    >>> step = StepBatch(entropy, entropy, torch.ones(1, 2, dtype=torch.bool), torch.ones(1), entropy=entropy)
    >>> entropy_shaping()(step, Plan.neutral(step), (0, 0)).advantage        # 1 + min(0.2, 0.5), 1 + min(0.8, 0.5)
    tensor([[1.2000, 1.5000]])
    """
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha={alpha}: the bonus per nat must be finite and 0 or more")
    check_kappa(kappa)

    @declares(row_local=True, advantage="shaped")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        if step.entropy is None:
            raise ValueError("StepBatch.entropy is not filled and entropy_shaping reads it: fill it with each token's")
        bonus = torch.minimum(alpha * step.entropy.detach(), plan.advantage.abs() / kappa)
        # where, not *: a masked token may hold nan or inf
        return replace(plan, advantage=torch.where(step.mask, plan.advantage + bonus, plan.advantage))

    return rule


def check_kappa(kappa: float) -> None:
    """ValueError unless a bonus capped at |A| / kappa leaves every sign alone."""
    if not 1 <= kappa < math.inf:
        raise ValueError(f"kappa={kappa}: a bonus is capped at |A| / kappa; below 1 it could flip the sign of A")
