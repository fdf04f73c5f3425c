"""Share of tokens with high entropy: how much of the text is still a decision (arXiv:2506.01939).

The threshold is fixed, so the share falls as entropy drains; a top-20 % rule would show 20 % for ever.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import chosen, filled, share_of

ABOUT = Definition(
    key="entropy/share_above",
    estimator="full-softmax entropy above 0.672 nats",
    reduction="share of tokens",
    unit="share",
    reads=("entropy",),
    by_role=True,
)


def entropy_share_above(step: StepBatch, threshold: float = 0.672) -> Mean:
    """#{t: H_t > threshold} / #t, from 0 to 1; nan where a chosen entropy is nan.

    The default is the 80th percentile that arXiv:2506.01939 measured on one thinking model (Qwen3-8B); another model
    has another one, so compare the share within a run, not across models.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 4), torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool), torch.ones(1),
    ...                  entropy=torch.tensor([[0.0, 0.1, 0.6, 1.5]]))
    >>> entropy_share_above(step).value                         # only 1.5
    0.25
    """
    entropy = chosen(filled(step, "entropy"), step.mask)
    return share_of(entropy > threshold, entropy)
