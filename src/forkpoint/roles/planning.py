"""Planning: decision words that move the search on, such as try, no, yes, stop (after arXiv:2509.03646).

That paper finds them as recurring phrases in real models' text; here the task says which they are.
"""

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import Label, StepBatch
from forkpoint.roles._labeled import labeled

READS = ("label",)


def planning(step: StepBatch) -> Bool[Tensor, "B T"]:
    """True where the label is PLANNING, shape (B, T). Raises ValueError where the step has no labels.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.ones(1),
    ...                  label=torch.tensor([[3, 2, 0]]))
    >>> planning(step)
    tensor([[ True, False, False]])
    """
    return labeled(step, Label.PLANNING)
