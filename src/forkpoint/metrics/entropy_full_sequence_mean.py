"""Full-softmax policy entropy, mean over sequences of per-sequence token means (arXiv:2505.22617, Eq. 5).

The H of the law R = -a exp(H) + b. Every answer weighs the same, whatever its length, so this number differs from the
token mean ``entropy_full`` whenever length and entropy go together.
"""

import torch

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import filled, mean_of

ABOUT = Definition(
    key="entropy/full_sequence_mean",
    estimator="exact entropy of the full softmax of the policy in training",
    reduction="mean over sequences of the token mean within each",
    unit="nats",
    reads=("entropy",),
    by_role=True,
)


def entropy_full_sequence_mean(step: StepBatch) -> Mean:
    """mean over rows of (mean over the row's chosen tokens of H_t); rows without a chosen token are left out.

    >>> step = StepBatch(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([[True, True, True], [True, False, False]]),
    ...                  torch.ones(2), entropy=torch.tensor([[1.0, 1.0, 1.0], [3.0, 9.0, 9.0]]))
    >>> entropy_full_sequence_mean(step).value                  # (1 + 3) / 2, while the token mean is 6 / 4
    2.0
    """
    mask = step.mask.cpu()
    entropy = torch.where(mask, filled(step, "entropy").detach().cpu().double(), 0.0)
    tokens = mask.sum(-1)
    return mean_of(entropy.sum(-1)[tokens > 0] / tokens[tokens > 0])
