"""Entropy regularization: the clipped loss minus a constant times the policy's entropy (arXiv:1602.01783, section 4).

    loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) - coef H

H is the full-softmax entropy in nats at the sampling temperature, one value per token, with its gradient.

Published settings  0.001 in arXiv:2504.20571 (printed there as -0.001, the weight of the loss term -H).
Differs from trainers with a bonus of their own: it is part of the per-token loss, so it follows the reduction, and a
token that the plan removes loses its bonus too.
Pitfalls  The useful range is narrow. arXiv:2505.22617 found no effect at 1e-4 and 1e-3, stability without gain at 5e-3,
and entropy exploding at 1e-2; arXiv:2505.22312 found that the direction depends on the data. The bonus rewards entropy
everywhere, not at decisions only.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip_entropy import clip_entropy


@method
def entropy_bonus(*, coef: float = 1e-3, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """Pay ``coef`` per nat of entropy; coef >= 0, clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp, mask = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    >>> step = StepBatch(logp, logp, mask, torch.ones(1), entropy=torch.tensor([[2.0, 1.0]]))
    >>> entropy_bonus(coef=0.1).step_loss(step)                 # (-1 - 0.2 - 1 - 0.1) / 2
    tensor(-1.1500)
    """
    objective = clip_entropy(coef=coef, clip_low=clip_low, clip_high=clip_high)
    return Method(
        (),
        objective,
        reads=("entropy",),
        intervenes=True,
        sets=("epsilon", "epsilon_high", "entropy_coef", "use_adaptive_entropy"),
    )
