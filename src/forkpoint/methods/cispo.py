"""CISPO: clip the importance weight and keep every token's gradient (arXiv:2506.13585).

    loss = -sg(clip(r, 1 - clip_low, 1 + clip_high)) A log p,    r = p / p_old, sg = no gradient

The clipped surrogate drops the tokens that moved furthest, and those are often the rare words at a turn of thought;
here their weight is bounded instead.

Settings of the paper  no lower bound (10 is none, as 1 - 10 < 0) and an upper one that the report does not give: 0.2 is
that of verl's example. A mean over all tokens of the step.
Differs from TRL's loss_type "cispo", which clamps the ratio at epsilon_high itself: its 1.2 is our 0.2.
Pitfalls  The loss is log p times a weight and no surrogate of the reward: its value says little, its gradient is what
counts. Inert while every ratio is 1. A token far above the bound is pushed on as hard as one at the bound.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.clipped_weight import clipped_weight

LIVELY = {"clip_low": 0.4}
"""the default is no bound, and neither is half of it"""


@method
def cispo(*, clip_low: float = 10.0, clip_high: float = 0.2) -> Method:
    """Weigh the token by its ratio in [1 - clip_low, 1 + clip_high]; both >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> old = torch.tensor([[0.25, 1.0]]).log()                 # ratios 2 and 0.5
    >>> step = StepBatch(torch.tensor([[0.5, 0.5]]).log(), old, torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> cispo().step_loss(step)                                 # (1.2 + 0.5) ln 2 / 2
    tensor(0.5892)
    """
    objective = clipped_weight(clip_low=clip_low, clip_high=clip_high)
    return Method((), objective, needs_off_policy=True, intervenes=True, sets=("epsilon", "epsilon_high"))
