"""Format: tokens that settle the notation of the text that follows, and nothing else (our definition).

Entropy lost here is a style taken over, not a skill gained.
"""

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import Label, StepBatch
from forkpoint.roles._labeled import labeled

READS = ("label",)


def format(step: StepBatch) -> Bool[Tensor, "B T"]:
    """True where the label is FORMAT, shape (B, T). Raises ValueError where the step has no labels.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.ones(1),
    ...                  label=torch.tensor([[4, 2, 0]]))
    >>> format(step)
    tensor([[ True, False, False]])
    """
    return labeled(step, Label.FORMAT)
