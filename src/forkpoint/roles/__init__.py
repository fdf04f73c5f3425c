"""Roles: which tokens are forks, execution, planning or format, so that every entropy can be read by role.

A file ``NAME.py`` here defines ``NAME(step) -> Bool[B, T]`` and is its whole registration. A role comes from fixed
labels, never from today's entropy: "high-entropy tokens have high entropy" would prove itself.
"""

from jaxtyping import Bool
from torch import Tensor

from forkpoint import catalog
from forkpoint.batch import StepBatch


def masks(step: StepBatch) -> dict[str, Bool[Tensor, "B T"]]:
    """Every role's mask by name; empty where the step has no labels. What ``metrics.measure`` takes as ``roles``.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> masks(step)
    {}
    """
    if step.label is None:
        return {}
    return {name: catalog.get("roles", name)(step) for name in catalog.names("roles")}
