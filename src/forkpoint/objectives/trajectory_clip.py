"""The clipped surrogate with the ratio of whole answers: REINFORCE on sequences (arXiv:2402.14740, RLOO).

    loss = -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A),    s = exp(sum over the answer of log p - log p_old)

s is the ratio of the probabilities that the two policies give the answer. At s = 1 the gradient by each log-prob is
-A whatever the answer's length: under a mean over sequences long answers weigh more, as in REINFORCE.
"""

from forkpoint.objectives._sequence import sequence_ratio
from forkpoint.objectives._steps import Objective, chain


def trajectory_clip(*, clip_low: float = 0.2, clip_high: float = 0.2) -> Objective:
    """-min(s A, clip(s) A) on every token of the row; clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[2.0, 1.5]]).log(), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    >>> plan = Plan(-torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    >>> trajectory_clip()(rows, plan)               # A = -1, s = 2 * 1.5
    tensor([[3., 3.]])
    """
    return chain(sequence_ratio(clip_low, clip_high, mean=False))
