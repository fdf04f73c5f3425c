"""KL(old || new) estimated by k2, half the squared log-ratio (Schulman 2020, joschu.net/blog/kl-approx.html).

old sampled the tokens, new is the policy in training. Agrees with the KL to second order: good while the policies are
close, another divergence far apart.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import log_ratio, mean_of

ABOUT = Definition(
    key="kl/k2",
    estimator="k2 of KL(old || new): (logp - logp_old)^2 / 2 at sampled tokens",
    reduction="token mean",
    unit="nats",
)


def kl_k2(step: StepBatch) -> Mean:
    """mean of d^2 / 2 with d = logp - logp_old. Biased, low variance, never negative.

    >>> import torch
    >>> step = StepBatch(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-0.5, -2.25]]), torch.tensor([[True, True]]),
    ...                  torch.ones(1))
    >>> kl_k2(step).value                                       # (.125 + .03125) / 2
    0.078125
    """
    return mean_of(log_ratio(step).square() / 2)
