"""Clip-Cov: no gradient for a random few of the tokens that drain entropy fastest (arXiv:2505.22617).

    Cov_i = (log p_i - mean log p) (A_i - mean A),    means over all N tokens of the step
    weight 0 for max(1, floor(share N)) tokens drawn from low < Cov < high, then the clipped surrogate

To first order a policy-gradient step changes entropy by minus the covariance of log-prob and advantage, and a small
share of tokens holds most of it: in the paper the mean is 0.003 and the top 0.02 % average 5.65.

Settings of the paper  share 2e-4, band (1, 5), and PPO bounds of 1 and 1, which leave only ratios above 2 clipped.
Differs from the authors' code: means, quota and draw are of the whole step, not of each micro-batch, and the draw
depends on (run seed, step, row, position) instead of an unseeded generator.
At  "update" takes log p from the policy in training, as the authors' code does; "rollout" from the one that sampled,
which costs no extra pass where the step is cut into micro-batches. No token is clipped yet at rollout, so there the
draw may fall on one that the clip will stop.
Pitfalls  The band is in units of the advantage, so it fits advantages scaled to unit variance. Where no covariance
reaches ``low`` the method silently becomes its clip: watch the number of tokens with weight 0. "At least one" is a
large share of a small step.
"""

from forkpoint.credit import At
from forkpoint.credit.clip_covariance import clip_covariance
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def clip_cov(
    *,
    share: float = 2e-4,
    low: float = 1.0,
    high: float = 5.0,
    clip_low: float = 1.0,
    clip_high: float = 1.0,
    at: At = "update",
) -> Method:
    """Drop a drawn ``share`` of the step's tokens inside the covariance band, then clip.

    share in (0, 1], low < high, clip_low in [0, 1], clip_high >= 0, at "update" or "rollout"; ValueError
    otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[-1.0, -3.0], [-1.0, -3.0]])       # Cov = 1.5, -1.5 / -1.5, 1.5
    >>> step = StepBatch(logp, logp, torch.ones(2, 2, dtype=torch.bool), torch.tensor([2.0, -1.0]))
    >>> clip_cov(share=1.0).step_loss(step)                     # (0 - 2 + 1 + 0) / 4
    tensor(-0.2500)
    """
    rule = clip_covariance(share=share, low=low, high=high, clip_low=clip_low, clip_high=clip_high, at=at)
    objective = clip(clip_low=clip_low, clip_high=clip_high)
    return Method((rule,), objective, intervenes=True, sets=("epsilon", "epsilon_high"))
