"""How many chosen tokens carry a number that is not finite (our definition): the guard behind every other reading.

A loss counts such tokens and so turns nan, or drops them unseen; this says how much of the step broke. Entropies have a
guard of their own.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import Definition, StepBatch
from forkpoint.metrics.entropy_nonfinite import Count

ABOUT = Definition(
    key="guard/nonfinite",
    estimator="tokens whose log-prob, under either policy, or whose row's advantage or reward is nan or infinite; "
    "a reward of nan is none at all and does not count",
    reduction="count of tokens",
    unit="tokens",
)


def nonfinite(step: StepBatch) -> Count:
    """#{t: log p_t, log p_old_t, the row's A or R not finite} over chosen tokens; 0 in a healthy step.

    >>> step = StepBatch(torch.tensor([[0.0, -torch.inf], [0.0, torch.nan]]), torch.zeros(2, 2),
    ...                  torch.tensor([[True, True], [True, False]]), torch.ones(2))
    >>> nonfinite(step)                                         # the nan is masked
    Count(num=1)
    """
    rows = _broken(step.advantage)
    if step.reward is not None:
        rows = rows | step.reward.isinf()
    return Count(int((step.mask & (_broken(step.logp) | _broken(step.logp_old) | rows.unsqueeze(1))).sum()))


def _broken(values: Float[Tensor, "..."]) -> Tensor:
    return ~torch.isfinite(values.detach())
