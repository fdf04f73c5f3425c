"""Policy gradient with a clipped importance weight: no token loses its gradient (arXiv:2506.13585, CISPO).

    loss = -sg(clip(r, 1 - clip_low, 1 + clip_high)) A log p,    r = p / p_old, sg = no gradient

The weight of a token is bounded, its gradient -clip(r) A is not dropped: a rare word that the update made likelier
keeps learning. The value is no surrogate of the reward: it is log p times a weight, and need not fall.
"""

from forkpoint.objectives._steps import Objective, chain
from forkpoint.objectives._weights import clipped_weight as transform


def clipped_weight(*, clip_low: float = 10.0, clip_high: float = 0.2) -> Objective:
    """-clip(r) A log p for every token; both bounds finite and >= 0 (1 or more: no lower bound), ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 1.0]]).log(), torch.tensor([[True, True]]))
    >>> plan = Plan(torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    >>> clipped_weight()(rows, plan)                # A = 1, ratios 2 and 0.5: 1.2 ln 2 and 0.5 ln 2
    tensor([[0.8318, 0.3466]])
    """
    return chain(transform(clip_low, clip_high))
