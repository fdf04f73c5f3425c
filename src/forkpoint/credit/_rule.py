"""What a credit rule is, and the wrapper that narrows its view."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from forkpoint.batch import Plan, StepBatch

Key = tuple[int, int]
"""(run seed, optimizer step): all the randomness a rule may use"""

CreditRule = Callable[[StepBatch, Plan, Key], Plan]
"""The whole step and the plan so far -> a new plan. Pure: the same step and key give the same plan, bit for bit."""

At = Literal["update", "rollout"]
"""the policy whose log-probs a rule reads: the one in training (``logp``), or the one that sampled (``logp_old``)"""

Does = Literal["kept", "read", "shaped", "taken"]
"""what a rule does to the plan's advantage: not look at it, go by it, make another of it, or take one from rewards"""

Rule = TypeVar("Rule", bound=CreditRule)


def declares(
    *,
    sharded: bool = False,
    at: At = "update",
    row_local: bool = False,
    advantage: Does = "kept",
    baseline: bool = False,
) -> Callable[[Rule], Rule]:
    """Says on a rule what a host trainer may save: a gather of the step (``sharded``) or a forward pass (``at``).

    ``sharded`` promises that of a step with ``ranks`` the rule plans each rank's rows as it would plan them in the
    whole step. ``row_local`` promises more: it plans each row by that row alone, so it does not matter how a step is
    cut, and it is sharded. A rule that declares nothing of these is given whole steps, with today's log-probs.

    ``advantage``: what it does to the plan's. ``baseline`` says of a rule that takes it from rewards that the host may
    have done the very same.
    """

    def mark(rule: Rule) -> Rule:
        setattr(rule, "sharded", sharded or row_local)  # noqa: B010  # a function's type knows no attributes
        setattr(rule, "at", at)  # noqa: B010
        setattr(rule, "row_local", row_local)  # noqa: B010
        setattr(rule, "advantage", advantage)  # noqa: B010
        setattr(rule, "baseline", baseline)  # noqa: B010
        return rule

    return mark


def is_sharded(rule: CreditRule) -> bool:
    """Whether the rule plans a step spread over ranks."""
    return getattr(rule, "sharded", False)


def is_row_local(rule: CreditRule) -> bool:
    """Whether the rule looks at one row at a time."""
    return getattr(rule, "row_local", False)


def does_to_advantage(rule: CreditRule) -> Does:
    """Whether the rule keeps the plan's advantage unseen, reads it, shapes it, or takes one from rewards."""
    return getattr(rule, "advantage", "kept")


_touched: ContextVar[Counter[int] | None] = ContextVar("forkpoint_touched", default=None)


@contextmanager
def seeing_touched() -> Generator[Counter[int], None, None]:
    """How many tokens each credit rule of a method changed in the plans made meanwhile, by its place among them."""
    seen: Counter[int] = Counter()
    token = _touched.set(seen)
    try:
        yield seen
    finally:
        _touched.reset(token)


def run_rules(rules: Sequence[CreditRule], step: StepBatch, plan: Plan, key: Key) -> Plan:
    """The plan after every rule, in order. Who is ``seeing_touched`` is told; a baseline beside other rules is not."""
    seen = _touched.get()
    for place, rule in enumerate(rules):
        before, plan = plan, _checked(rule(step, plan, key), rule)
        if seen is not None and (len(rules) == 1 or not getattr(rule, "baseline", False)):
            seen[place] += int((step.mask & touched(before, plan)).sum())
    return plan


def _checked(made: object, rule: CreditRule) -> Plan:
    if not isinstance(made, Plan):
        told = f"{getattr(rule, '__module__', '')}.{getattr(rule, '__qualname__', rule)}"
        raise ValueError(f"credit rule {told} returned {type(made).__name__}; it must return a Plan")
    return made


def touched(before: Plan, after: Plan) -> Bool[Tensor, "B T"]:
    """Where a plan is another: mark, weight or advantage; nan and nan are the same."""
    same = (before.advantage == after.advantage) | (before.advantage.isnan() & after.advantage.isnan())
    return (before.mark != after.mark) | (before.weight != after.weight) | ~same


def plans_at(rule: CreditRule) -> At:
    """Whose log-probs the rule reads."""
    return getattr(rule, "at", "update")


def per_micro_batch(rule: CreditRule, *parts: Int[Tensor, " _"]) -> CreditRule:
    """``rule`` applied to each part of the step on its own, as published code does that selects inside the loss.

    For comparison only: means, quotas and "at least one token" then depend on how the step was cut. ``parts`` hold row
    positions and must name every row once; ValueError otherwise. Other ranks are not asked.
    """

    def scoped(step: StepBatch, plan: Plan, key: Key) -> Plan:
        order = torch.cat(parts) if parts else torch.arange(0)
        if not torch.equal(order.sort().values.cpu(), torch.arange(step.mask.shape[0])):
            raise ValueError(f"per_micro_batch: the parts must name each of the {step.mask.shape[0]} rows once")
        # a part would otherwise number its rows from 0 again, and wait for ranks that have another number of parts
        step = replace(step, row_id=step.identity, ranks=None)
        planned = [rule(step.rows(part), plan.rows(part), key) for part in parts]
        joined = {f.name: torch.cat([getattr(part, f.name) for part in planned]) for f in fields(Plan)}
        return Plan(**joined).rows(order.argsort())

    return scoped
