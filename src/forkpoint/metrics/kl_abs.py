"""Mean absolute log-ratio of the trained and the sampling policy: KL-Cov's penalty as coded (arXiv:2505.22617).

The distance that method pulls on: its gradient has the same size however near the policies are.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import log_ratio, mean_of

ABOUT = Definition(
    key="kl/abs",
    estimator="|logp - logp_old| at sampled tokens",
    reduction="token mean",
    unit="nats",
)


def kl_abs(step: StepBatch) -> Mean:
    """mean of |logp - logp_old|. Never negative; far above KL(old || new), which is second order in the same distance.

    >>> import torch
    >>> step = StepBatch(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-0.5, -2.25]]), torch.tensor([[True, True]]),
    ...                  torch.ones(1))
    >>> kl_abs(step).value                                      # (.5 + .25) / 2
    0.375
    """
    return mean_of(log_ratio(step).abs())
