"""Pays the tokens of one role more, and punishes them less (arXiv:2509.03646, HICRA's planning tokens).

    A' = A + alpha |A| on the role's tokens, A elsewhere

So A is multiplied by 1 + alpha where positive and by 1 - alpha where negative: no sign changes, and over a group A'
no longer sums to zero. That surplus, alpha mean |A|, is a standing push towards the role's tokens.
"""

from dataclasses import replace
from typing import Literal

import torch

from forkpoint import catalog
from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import CreditRule, Key, declares

Role = Literal["planning", "fork", "execution", "format"]
"""the roles that come from a token's label"""


def role_bonus(*, alpha: float = 0.2, role: Role = "planning") -> CreditRule:
    """A' = A + alpha |A| on the tokens of ``role``; alpha in [0, 1], ValueError otherwise, and without labels.

    >>> on = torch.ones(2, 2, dtype=torch.bool)
    >>> step = StepBatch(torch.zeros(2, 2), torch.zeros(2, 2), on, torch.tensor([0.8, -0.5]),
    ...                  label=torch.tensor([[3, 2], [3, 3]]))
    >>> role_bonus()(step, Plan.neutral(step), (0, 0)).advantage      # 0.8 + 0.16, -0.5 + 0.1
    tensor([[ 0.9600,  0.8000],
            [-0.4000, -0.4000]])
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}: it is a fraction of the advantage, from 0 to 1; above 1 it would flip signs")
    if role not in ("planning", "fork", "execution", "format"):
        raise ValueError(f"role={role!r}: choose 'planning', 'fork', 'execution' or 'format'")

    @declares(row_local=True, advantage="shaped")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        chosen = step.mask & catalog.get("roles", role)(step)
        raised = plan.advantage + alpha * plan.advantage.abs()
        return replace(plan, advantage=torch.where(chosen, raised, plan.advantage))

    return rule
