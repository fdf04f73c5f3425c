"""The clipped surrogate minus an entropy bonus: "entropy regularization" (arXiv:1602.01783, section 4; PPO's Eq. 9).

    loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) - coef H

H is the full-softmax entropy at the token's position, with its gradient. Being part of the per-token loss, it is
reduced as the rest is: under a token mean the bonus is coef times the mean entropy of the step's tokens.
"""

from forkpoint.objectives._steps import Objective, chain, entropy_reward, pessimistic_clip


def clip_entropy(*, coef: float = 1e-3, clip_low: float = 0.2, clip_high: float = 0.2) -> Objective:
    """Clipped loss - coef H per token; coef >= 0, clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), torch.full((1, 1), 2.0))
    >>> plan = Plan(torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.bool))
    >>> clip_entropy(coef=0.1)(rows, plan)          # -1 - 0.1 * 2
    tensor([[-1.2000]])
    """
    return chain(pessimistic_clip(clip_low, clip_high), entropy_reward(coef))
