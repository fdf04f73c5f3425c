"""How many chosen tokens have no finite entropy (our definition): the guard behind every entropy mean.

A mean counts such tokens and so turns nan, which says that something broke; this says how much of the step did.
"""

from typing import NamedTuple

from forkpoint.batch import Definition, StepBatch
from forkpoint.metrics._masked import chosen, filled

ABOUT = Definition(
    key="guard/entropy_nonfinite",
    estimator="full-softmax entropies that are nan or infinite",
    reduction="count of tokens",
    unit="tokens",
    reads=("entropy",),
)


class Count(NamedTuple):
    """A number of tokens; 0 where there was nothing to count.

    >>> (Count(2) + Count(3)).value
    5.0
    """

    num: int

    def __add__(self, other: "Count") -> "Count":  # type: ignore[override]  # a tuple's + would concatenate
        return Count(self.num + other.num)

    @property
    def value(self) -> float:
        return float(self.num)


def entropy_nonfinite(step: StepBatch) -> Count:
    """#{t: H_t is nan or infinite} over chosen tokens; 0 in a healthy step.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([[True, True, False]]), torch.ones(1),
    ...                  entropy=torch.tensor([[torch.nan, 0.5, torch.nan]]))
    >>> entropy_nonfinite(step)                                 # the second nan is masked
    Count(num=1)
    """
    return Count(int((~chosen(filled(step, "entropy"), step.mask).isfinite()).sum()))
