"""Entropy-shaped advantage: uncertain tokens are rewarded more and punished less (arXiv:2506.14758).

    A' = A + min(alpha H, |A| / kappa),    then the clipped surrogate

H is the entropy of the policy in training at the token, in nats, detached: unlike an entropy bonus it has no gradient,
it only scales the policy gradient that is there.

Settings of the paper  alpha 0.4 with GRPO and 0.1 with PPO, kappa above 1; 2 is the value that others report of it. The
bounds here are clip-higher's, 0.2 and 0.28.
Differs from nothing published: the formula is the paper's, and A is the host's.
Pitfalls  The bonus is never negative, so a group's mean advantage is no longer 0: bad answers' uncertain tokens are
spared, by up to |A| / kappa. Where A = 0 (a group of one verdict) nothing is added. The bonus shrinks with the entropy
that it is to protect, so it slows a collapse and does not undo one.
"""

from forkpoint.credit.entropy_shaping import entropy_shaping
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def entropy_advantage(
    *, alpha: float = 0.4, kappa: float = 2.0, clip_low: float = 0.2, clip_high: float = 0.28
) -> Method:
    """Add min(alpha H, |A| / kappa) to every token's advantage.

    alpha >= 0, kappa >= 1, clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)
    >>> entropy = torch.tensor([[0.5, 2.0], [0.5, 2.0]])
    >>> step = StepBatch(zeros, zeros, mask, torch.tensor([1.0, -1.0]), entropy=entropy)
    >>> entropy_advantage().step_loss(step)                     # A' = 1.2, 1.5, -0.8, -0.5: -1.4 / 4
    tensor(-0.3500)
    """
    return Method(
        (entropy_shaping(alpha=alpha, kappa=kappa),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("entropy",),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        stand_in=("clip_low", "clip_high"),
    )
