"""What a credit rule is, and the wrapper that narrows its view."""

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from jaxtyping import Int
from torch import Tensor

from forkpoint.batch import Plan, StepBatch

Key = tuple[int, int]
"""(run seed, optimizer step): all the randomness a rule may use"""

CreditRule = Callable[[StepBatch, Plan, Key], Plan]
"""The whole step and the plan so far -> a new plan. Pure: the same step and key give the same plan, bit for bit."""


def per_micro_batch(rule: CreditRule, *parts: Int[Tensor, " _"]) -> CreditRule:
    """``rule`` applied to each part of the step on its own, as published code does that selects inside the loss.

    For comparison only: means, quotas and "at least one token" then depend on how the step was cut. ``parts`` hold row
    positions and must name every row once; ValueError otherwise.
    """

    def scoped(step: StepBatch, plan: Plan, key: Key) -> Plan:
        order = torch.cat(parts) if parts else torch.arange(0)
        if not torch.equal(order.sort().values.cpu(), torch.arange(step.mask.shape[0])):
            raise ValueError(f"per_micro_batch: the parts must name each of the {step.mask.shape[0]} rows once")
        step = replace(step, row_id=step.identity)  # a part would otherwise number its rows from 0 again
        planned = [rule(step.rows(part), plan.rows(part), key) for part in parts]
        joined = {f.name: torch.cat([getattr(part, f.name) for part in planned]) for f in fields(Plan)}
        return Plan(**joined).rows(order.argsort())

    return scoped
