"""KL(old || new) estimated by k3, k1 with a control variate (Schulman 2020, joschu.net/blog/kl-approx.html).

old sampled the tokens, new is the policy in training. The added ratio - 1 has mean 0 under old, which keeps k1's mean
and removes most of its noise.
"""

import torch

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import log_ratio, mean_of

ABOUT = Definition(
    key="kl/k3",
    estimator="k3 of KL(old || new): exp(d) - d - 1 with d = logp - logp_old at sampled tokens",
    reduction="token mean",
    unit="nats",
)


def kl_k3(step: StepBatch) -> Mean:
    """mean of exp(d) - d - 1 with d = logp - logp_old. Never negative, and unbiased where old could draw every token
    that new can; top-k or top-p sampling breaks that. One token with a large d dominates the mean: look at ``kl_abs``.

    Computed in float64: exact at d = 80, where exp leaves half precision, and inf (visible) beyond d = 709.

    >>> step = StepBatch(torch.tensor([[0.5, 0.25]]).log(), torch.tensor([[0.25, 0.25]]).log(),
    ...                  torch.tensor([[True, True]]), torch.ones(1))
    >>> round(kl_k3(step).value, 6)                             # d = ln 2 and 0: (2 - ln 2 - 1) / 2
    0.153426
    """
    d = log_ratio(step)
    # expm1: exp(d) - 1 would cancel to 0 for the small d of a nearly on-policy step
    return mean_of(torch.expm1(d) - d)
