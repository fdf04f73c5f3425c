"""The clipped surrogate of PPO, per token (arXiv:1707.06347, Eq. 7).

    loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A),    r = p / p_old

A token stops learning once its ratio has moved past the bound in the direction of its advantage. One bound for both
sides is GRPO (arXiv:2402.03300); a wider upper bound is DAPO's clip-higher (arXiv:2503.14476).
"""

from forkpoint.objectives._steps import Objective, chain, pessimistic_clip


def clip(*, clip_low: float = 0.2, clip_high: float = 0.2) -> Objective:
    """-min(r A, clip(r) A) for every token; clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[1.5, 0.5, 1.1]]).log(), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))
    >>> plan = Plan(torch.ones(1, 3), torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.bool))
    >>> clip()(rows, plan)                          # A = 1 and ratios 1.5, 0.5, 1.1: only the first is clipped
    tensor([[-1.2000, -0.5000, -1.1000]])
    """
    return chain(pessimistic_clip(clip_low, clip_high))
