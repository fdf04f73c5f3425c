"""Execution: tokens determined by what precedes them, such as a result or a copy (after arXiv:2509.03646).

Entropy here is plain uncertainty about a fact, and losing it is progress.
"""

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import Label, StepBatch
from forkpoint.roles._labeled import labeled

READS = ("label",)


def execution(step: StepBatch) -> Bool[Tensor, "B T"]:
    """True where the label is EXECUTION, shape (B, T). Raises ValueError where the step has no labels.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.ones(1),
    ...                  label=torch.tensor([[1, 2, 0]]))
    >>> execution(step)
    tensor([[False,  True, False]])
    """
    return labeled(step, Label.EXECUTION)
