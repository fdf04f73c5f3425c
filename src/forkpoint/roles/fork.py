"""Forks: two or more different tokens here can still end in a right answer (after arXiv:2506.01939).

That paper picks forks by their entropy; here the task knows them, so that entropy at forks is free to rise or fall.
"""

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import Label, StepBatch
from forkpoint.roles._labeled import labeled

READS = ("label",)


def fork(step: StepBatch) -> Bool[Tensor, "B T"]:
    """True where the label is FORK, shape (B, T). Raises ValueError where the step has no labels.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.ones(1),
    ...                  label=torch.tensor([[1, 2, 0]]))
    >>> fork(step)
    tensor([[ True, False, False]])
    """
    return labeled(step, Label.FORK)
