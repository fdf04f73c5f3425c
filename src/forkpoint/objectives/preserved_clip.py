"""The clipped surrogate with the gradient of clipped tokens kept, and bounded (arXiv:2508.07629, GPPO).

    loss = -min(r A, clip(r, (1 - clip_low) r / sg(r), (1 + clip_high) r / sg(r)) A),    r = p / p_old, sg = no gradient

With both betas 1 the value is that of the clipped surrogate; a token past the bound still pulls, with the bound as its
weight. ``beta_low`` scales the tokens below 1 - clip_low with A < 0, ``beta_high`` those above 1 + clip_high with A > 0
(arXiv:2509.20712, CE-GPPO), value and gradient. A token with A < 0 costs dual_clip |A| at most, and beyond it has no
gradient.
"""

from forkpoint.objectives._steps import Objective, chain, marked_likelihood
from forkpoint.objectives._weights import preserved_clip as transform


def preserved_clip(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    beta_low: float = 1.0,
    beta_high: float = 1.0,
    dual_clip: float = 10.0,
    positive_coef: float = 0.0,
) -> Objective:
    """The loss above, minus positive_coef log p on the tokens that the plan marks.

    clip_low in [0, 1], clip_high >= 0, betas >= 0, dual_clip > 1, positive_coef >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[1.5, 0.5, 12.0]]).log(), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))
    >>> plan = Plan(torch.tensor([[1.0, -1.0, -1.0]]), torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.bool))
    >>> preserved_clip(beta_low=0.5)(rows, plan)    # -1.28, 0.5 * 0.8, and the dual clip
    tensor([[-1.2800,  0.4000, 10.0000]])
    """
    bounded = transform(clip_low, clip_high, beta_low=beta_low, beta_high=beta_high, dual_clip=dual_clip)
    return chain(bounded, marked_likelihood(positive_coef))
