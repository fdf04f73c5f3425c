"""Exact quantiles of token entropy: the shape behind the mean (Hyndman & Fan 1996, type 7: linear interpolation).

Most tokens are nearly certain and a few are forks, so the mean can sit where no token is: p50 follows the mechanical
text, p90 and p99 follow the forks.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import Definition, StepBatch
from forkpoint.metrics._masked import chosen, filled

ABOUT = Definition(
    key="entropy/full_p90",
    estimator="exact entropy of the full softmax of the policy in training",
    reduction="quantile over tokens, at the percent that the key names",
    unit="nats",
    reads=("entropy",),
)

COLUMNS = {f"entropy/full_p{round(100 * q)}": {"q": q} for q in (0.1, 0.5, 0.9, 0.99)}


class Quantile(NamedTuple):
    """A quantile that merges exactly, because it keeps the values: quantiles of parts have no exact merge.

    >>> (Quantile(0.5, torch.tensor([1.0, 2.0])) + Quantile(0.5, torch.tensor([6.0]))).value
    2.0
    """

    q: float
    values: Float[Tensor, " N"]

    def __add__(self, other: "Quantile") -> "Quantile":  # type: ignore[override]  # a tuple's + would concatenate
        if self.q != other.q:
            raise ValueError(f"cannot merge the quantiles {self.q} and {other.q}: merge readings of the same q")
        return Quantile(self.q, torch.cat([self.values, other.values]))

    @property
    def value(self) -> float:
        """nan without values, or where one is not finite: a sort would push it to an end and hide it."""
        if not len(self.values) or not self.values.isfinite().all():
            return math.nan
        ordered = self.values.sort().values
        position = self.q * (len(ordered) - 1)
        below, above = float(ordered[math.floor(position)]), float(ordered[math.ceil(position)])
        return below + (above - below) * (position - math.floor(position))


def entropy_quantile(step: StepBatch, q: float = 0.9) -> Quantile:
    """The entropy that a share ``q`` of the chosen tokens does not exceed; from 0 to ln V.

    Raises ValueError where ``q`` is outside [0, 1].

    >>> step = StepBatch(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.ones(1),
    ...                  entropy=torch.tensor([[2.0, 0.0, 0.5]]))
    >>> entropy_quantile(step, q=0.75).value                    # sorted 0, .5, 2: place .75 * 2 = 1.5, between .5 and 2
    1.25
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"entropy_quantile: q is {q}; give a share from 0 to 1, such as 0.9")
    return Quantile(q, chosen(filled(step, "entropy"), step.mask))
