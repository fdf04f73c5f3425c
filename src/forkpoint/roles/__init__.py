"""Roles: which tokens are forks, execution, planning or format, so that every entropy can be read by role.

A file ``NAME.py`` here defines ``NAME(step, **options with defaults) -> Bool[B, T]`` and ``READS``, the fields of
``StepBatch`` it needs; that is its whole registration. A role comes from fixed labels, from what a tool wrote or from a
frozen reference policy, never from today's entropy: "high-entropy tokens have high entropy" would prove itself.
"""

from importlib import import_module

from jaxtyping import Bool
from torch import Tensor

from forkpoint import catalog
from forkpoint.batch import StepBatch


def masks(step: StepBatch) -> dict[str, Bool[Tensor, "B T"]]:
    """The mask of every role whose fields the step fills, by name. What ``metrics.measure`` takes as ``roles``.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> masks(step)
    {}
    """
    return {name: catalog.get("roles", name)(step) for name in catalog.names("roles") if step.has(*reads(name))}


def reads(name: str) -> tuple[str, ...]:
    """The fields of ``StepBatch`` that a role needs.

    >>> reads("fork"), reads("after_tool")
    (('label',), ('tool',))
    """
    return import_module(f"{__name__}.{name}").READS
