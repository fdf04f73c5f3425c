"""Metrics: what one optimizer step looked like, as values that merge over micro-batches and ranks.

A file ``NAME.py`` here holds

    ABOUT      a ``Definition``: the column's key and everything needed to compare it with another number
    NAME       ``(step, **options with defaults) -> mergeable``: has ``+`` for parts of a step, and ``.value``
    COLUMNS    optional: key -> options, where one file makes several columns (default: ``ABOUT.key`` alone)
    applies    optional: ``(step, **options) -> bool``, where filled fields are not enough to compute it

and that is its whole registration. Three promises hold for all of them (``tests/laws/test_metrics.py``): a token
outside the mask never matters, parts add up to the whole, and a nan among the chosen tokens shows as nan.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from forkpoint import catalog
from forkpoint.batch import Definition, Mergeable, StepBatch


def definitions() -> dict[str, Definition]:
    """What every column means, by key. Role columns ``key/role`` have the definition of ``key``.

    >>> definitions()["entropy/full"].unit
    'nats'
    """
    return {key: replace(member.ABOUT, key=key) for member in _members().values() for key in _columns(member)}


def measure(
    step: StepBatch, roles: Mapping[str, Bool[Tensor, "B T"]] | None = None, *, only: Collection[str] | None = None
) -> dict[str, Mergeable]:
    """Every metric whose fields the step fills, by key; ``by_role`` ones also as ``key/role`` for each of ``roles``.

    ``roles`` is what ``forkpoint.roles.masks`` returns; ``only`` names the keys wanted, where not all are. A metric
    that the step cannot fill has no entry: an absent column is never a zero. A role without tokens has an entry that
    is nan.

    >>> import torch
    >>> step = StepBatch(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1),
    ...                  entropy=torch.tensor([[0.5, 0.1]]))
    >>> readings = measure(step, {"fork": torch.tensor([[True, False]])})
    >>> round(readings["entropy/full"].value, 6), readings["entropy/full/fork"].value, "accuracy" in readings
    (0.3, 0.5, False)
    """
    readings: dict[str, Mergeable] = {}
    for name, member in _members().items():
        for key, options in _columns(member).items():
            if _applies(member, step, options):
                metric = partial(getattr(member, name), **options)
                parts = {key: step}
                if member.ABOUT.by_role:
                    parts |= {f"{key}/{role}": step.only(mask) for role, mask in (roles or {}).items()}
                readings |= {at: metric(part) for at, part in parts.items() if only is None or at in only}
    return readings


def _members() -> dict[str, ModuleType]:
    return {name: import_module(f"{__name__}.{name}") for name in catalog.names("metrics")}


def _columns(member: ModuleType) -> Mapping[str, Mapping[str, Any]]:
    return getattr(member, "COLUMNS", {member.ABOUT.key: {}})


def _applies(member: ModuleType, step: StepBatch, options: Mapping[str, Any]) -> bool:
    if not step.has(*member.ABOUT.reads):
        return False
    return not hasattr(member, "applies") or member.applies(step, **options)
