"""The clipped surrogate with one ratio per answer, normalized by its length (arXiv:2507.18071, GSPO).

    loss = -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A),    s = exp(mean over the answer of log p - log p_old)

All tokens of an answer are clipped, or none. In the paper's token form each token's loss is the row's, with the
gradient of its own log-prob; the mean over the row is the row's loss, with its gradient.
"""

from forkpoint.objectives._sequence import sequence_ratio
from forkpoint.objectives._steps import Objective, chain


def sequence_clip(*, clip_low: float = 3e-4, clip_high: float = 4e-4) -> Objective:
    """-min(s A, clip(s) A) on every token of the row; clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[4.0, 1.0]]).log(), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    >>> plan = Plan(-torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    >>> sequence_clip()(rows, plan)                 # A = -1, s = exp((ln 4 + ln 1) / 2) = 2
    tensor([[2., 2.]])
    """
    return chain(sequence_ratio(clip_low, clip_high, mean=True))
