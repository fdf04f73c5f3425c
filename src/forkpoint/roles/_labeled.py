"""The part that roles share: from labels to a mask."""

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import Label, StepBatch


def labeled(step: StepBatch, label: Label) -> Bool[Tensor, "B T"]:
    """True where the token has this label; also outside ``step.mask``, which ``StepBatch.only`` combines it with.

    Raises ValueError where the step has no labels.
    """
    if step.label is None:
        raise ValueError(
            f"StepBatch.label is not filled and role {label.name.lower()!r} reads it: "
            "use a task that labels its tokens, or measure without roles"
        )
    return step.label == label
