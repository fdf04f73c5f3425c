"""Reference forks: where a frozen reference policy is undecided about the next token (after arXiv:2506.01939).

That paper calls the top fifth of tokens by the live policy's entropy forks and finds, by the end of training, 86.67 %
or more of those places among the base policy's. Asking a policy that does not change keeps the role from moving with
what it measures. 0.672 nats was the 80th percentile of Qwen3-8B on AIME; other policies have other percentiles, which
``share`` takes from the step itself.
"""

import math

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import StepBatch
from forkpoint.roles._labeled import needed
from forkpoint.roles._top import top_score

READS = ("entropy_reference",)


def reference_fork(step: StepBatch, threshold: float = 0.672, share: float | None = None) -> Bool[Tensor, "B T"]:
    """True at chosen tokens where the reference's entropy is ``threshold`` nats or more, shape (B, T).

    With ``share`` the threshold is the entropy of the step's ceil(share N)-th most undecided chosen token, over all
    ranks; every token that ties with it is in. Raises ValueError where ``step.entropy_reference`` is not filled, for a
    share outside (0, 1] and for a threshold below 0.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 4), torch.zeros(1, 4), torch.tensor([[True, True, True, False]]), torch.ones(1),
    ...                  entropy_reference=torch.tensor([[0.1, 0.7, 0.9, 2.0]]))
    >>> reference_fork(step), reference_fork(step, share=0.3)           # the second keeps ceil(.3 * 3) = 1
    (tensor([[False,  True,  True, False]]), tensor([[False, False,  True, False]]))
    """
    entropy = needed(step, "entropy_reference", "reference_fork").detach()
    check(threshold, share)
    if share is not None:
        threshold = top_score(entropy, step.mask, share, step.ranks)
    return step.mask & (entropy.double() >= threshold)


def check(threshold: float, share: float | None) -> None:
    """Refuse what can be no threshold in nats, and no share."""
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"reference_fork: share={share}; it is a fraction above 0, the top 20 % is 0.2")
    if not 0 <= threshold < math.inf:
        raise ValueError(f"reference_fork: threshold={threshold}; it is an entropy in nats, 0 or more")
