"""The parts that roles share: a field that must be there, and from labels to a mask."""

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import Label, StepBatch

REMEDIES = {
    "label": "use a task that labels its tokens, or measure without roles",
    "tool": "fill it with True where a tool wrote the token, or measure without this role",
    "entropy_reference": "give the trainer a reference policy, or measure without this role",
}


def needed(step: StepBatch, field: str, role: str) -> Tensor:
    """The field of the step. ValueError, with the role and what to do, where it is not filled."""
    value = getattr(step, field)
    if value is None:
        raise ValueError(f"StepBatch.{field} is not filled and role {role!r} reads it: {REMEDIES[field]}")
    return value


def labeled(step: StepBatch, label: Label) -> Bool[Tensor, "B T"]:
    """True where the token has this label; also outside ``step.mask``, which ``StepBatch.only`` combines it with.

    Raises ValueError where the step has no labels.
    """
    return needed(step, "label", label.name.lower()) == label
