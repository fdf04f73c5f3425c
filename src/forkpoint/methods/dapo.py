"""Clip-higher: a wider upper bound, so that unlikely tokens may grow (arXiv:2503.14476).

    loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A),    clip_high > clip_low

Under 1.2 a token of probability 0.01 may reach 0.012 in one rollout while one of 0.9 is hardly bound; the wider bound
leaves room for exploration, and entropy falls more slowly.

Settings of the paper  0.2 and 0.28 with a mean over tokens. Its dynamic sampling, overlong shaping and token mean are
choices of the host trainer, not of this loss.
Differs from verl's form, which also caps the loss of tokens with A < 0 at a dual clip (3 by default): none is here.
Pitfalls  Inert while every ratio is 1. How much is too much depends on the setting: arXiv:2505.22312 reports entropy
rising without bound at 0.28 where 0.25 and 0.265 held.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def dapo(*, clip_low: float = 0.2, clip_high: float = 0.28) -> Method:
    """Clip the ratio to [1 - clip_low, 1 + clip_high]; clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[1.5, 0.5]]).log()                 # ratios 1.5 and 0.5
    >>> step = StepBatch(logp, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> dapo().step_loss(step)                                  # -(1.28 + 0.5) / 2
    tensor(-0.8900)
    """
    objective = clip(clip_low=clip_low, clip_high=clip_high)
    return Method((), objective, needs_off_policy=True, intervenes=True, sets=("epsilon", "epsilon_high"))
