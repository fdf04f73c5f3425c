"""KL(old || new) estimated by k1, the plain log-ratio (Schulman 2020, joschu.net/blog/kl-approx.html).

old sampled the tokens, new is the policy in training; KL(old || new) = E_old[log pi_old - log pi_new] is the direction
that samples from old can tell.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import log_ratio, mean_of

ABOUT = Definition(
    key="kl/k1",
    estimator="k1 of KL(old || new): logp_old - logp at sampled tokens",
    reduction="token mean",
    unit="nats",
)


def kl_k1(step: StepBatch) -> Mean:
    """mean of logp_old - logp. Unbiased; noisy, and a small sample often gives a negative number.

    >>> import torch
    >>> step = StepBatch(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-0.5, -2.25]]), torch.tensor([[True, True]]),
    ...                  torch.ones(1))
    >>> kl_k1(step).value                                       # (.5 - .25) / 2
    0.125
    """
    return mean_of(-log_ratio(step))
