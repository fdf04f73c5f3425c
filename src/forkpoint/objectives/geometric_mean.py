"""The geometric mean of an answer's ratios, each clipped first (arXiv:2507.20673, GMPO).

    loss = -exp(mean over the answer of x) A
    x = min(log r, clip_high) where A > 0, max(log r, -clip_low) where A < 0,    r = p / p_old

One far-off token moves a mean of logs less than a mean of ratios. The bounds are in nats: 0.4 keeps a ratio within
(e^-0.4, e^0.4) = (0.67, 1.49). A clipped token has no gradient, and its bound still counts in the row's mean.
"""

from forkpoint.objectives._sequence import clipped_geometric_mean
from forkpoint.objectives._steps import Objective, chain


def geometric_mean(*, clip_low: float = 0.4, clip_high: float = 0.4) -> Objective:
    """-G A on every token of the row, G the geometric mean; both bounds finite and >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[0.6, 0.2]]), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    >>> plan = Plan(torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    >>> geometric_mean()(rows, plan)                # A = 1: -exp((0.4 + 0.2) / 2), the first is clipped
    tensor([[-1.3499, -1.3499]])
    """
    return chain(clipped_geometric_mean(clip_low, clip_high))
