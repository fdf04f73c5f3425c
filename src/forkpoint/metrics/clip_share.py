"""Share of tokens whose gradient PPO's clip would remove (arXiv:1707.06347, Eq. 7).

0 in every on-policy step: with all ratios 1 there is nothing to clip, and methods that act through the clip do nothing.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import log_ratio, share_of, token_advantage

ABOUT = Definition(
    key="clip_share",
    estimator="tokens on the flat side of PPO's clip at 0.2, whatever the run's own bounds: ratio < 0.8 with A < 0, or "
    "ratio > 1.2 with A > 0",
    reduction="share of tokens",
    unit="share",
)


def clip_share(step: StepBatch, low: float = 0.2, high: float = 0.2) -> Mean:
    """#{t: r < 1 - low and A < 0, or r > 1 + high and A > 0} / #t with r = exp(logp - logp_old); from 0 to 1.

    Out of bounds on the other side still has a gradient (the minimum takes the unclipped term), so it is not counted.
    The bounds are the paper's default, and those of the record's column in every run; what a method's own clip takes is
    in ``guard/changed_share``.

    >>> import torch
    >>> ratio = torch.tensor([[1.5, 0.5], [1.5, 0.5]])
    >>> step = StepBatch(ratio.log(), torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), torch.tensor([1.0, -1.0]))
    >>> clip_share(step).value                                  # 1.5 with A > 0, and 0.5 with A < 0
    0.5
    """
    d, advantage = log_ratio(step), token_advantage(step)
    ratio = d.exp()
    clipped = ((ratio < 1 - low) & (advantage < 0)) | ((ratio > 1 + high) & (advantage > 0))
    return share_of(clipped, d + advantage)
