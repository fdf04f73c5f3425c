"""The small steps that objectives are chained from.

Each is pure: rows, plan and the terms so far in, new terms out. What every objective owes its caller (masked and
removed tokens stay out, the plan's weight goes in) is done once, in ``chain``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from forkpoint.batch import Plan, Rows


@dataclass(frozen=True)
class Terms:
    """What one step of an objective hands to the next."""

    log_ratio: Float[Tensor, "B T"]
    """log p - log p_old in nats; 0 where the token is masked or its weight is 0"""
    loss: Float[Tensor, "B T"]
    """per-token loss so far, before the plan's weight"""


Transform = Callable[[Rows, Plan, Terms], Terms]
"""One step of an objective."""

Objective = Callable[[Rows, Plan], Float[Tensor, "B T"]]
"""Rows and the same rows of the plan -> the loss of each token, weighted, 0 where masked, not reduced."""


def chain(*transforms: Transform) -> Objective:
    """The objective that runs ``transforms`` in order, between the masked log-ratio and the plan's weight.

    >>> rows = Rows(torch.tensor([[0.0, 9.0]]), torch.zeros(1, 2), torch.tensor([[True, False]]))
    >>> plan = Plan(torch.ones(1, 2), torch.full((1, 2), 0.5), torch.zeros(1, 2, dtype=torch.bool))
    >>> chain(policy_gradient())(rows, plan)                    # -(A r) w = -(1 * 1) * 0.5; the second is masked
    tensor([[-0.5000,  0.0000]])
    """

    def objective(rows: Rows, plan: Plan) -> Float[Tensor, "B T"]:
        trained = rows.mask & (plan.weight != 0)
        # before any exp: a masked exp(inf) has the value 0 and still the gradient 0 * inf = nan
        log_ratio = torch.where(trained, rows.logp - rows.logp_old, 0.0)
        terms = Terms(log_ratio, torch.zeros_like(log_ratio))
        for transform in transforms:
            terms = transform(rows, plan, terms)
        return torch.where(trained, terms.loss * plan.weight, 0.0)

    return objective


def policy_gradient() -> Transform:
    """loss = -r A: importance-weighted policy gradient, with no clip."""

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        ratio = exp_ratio(terms.log_ratio, finite=plan.advantage == 0)
        return replace(terms, loss=-ratio * plan.advantage)

    return transform


def pessimistic_clip(clip_low: float, clip_high: float) -> Transform:
    """loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); clip_low in [0, 1], clip_high >= 0.

    The operations and their order are those of TRL's GRPO loss, so that the same numbers come out to the last bit.
    """
    check_bounds(clip_low, clip_high)

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        ratio = exp_ratio(terms.log_ratio, finite=plan.advantage >= 0)
        clipped = torch.clamp(ratio, 1 - clip_low, 1 + clip_high)
        return replace(terms, loss=-torch.min(ratio * plan.advantage, clipped * plan.advantage))

    return transform


def marked_penalty(coef: float) -> Transform:
    """loss + coef |log r| on the plan's marked tokens; coef >= 0. At r = 1 both value and gradient are 0."""
    if not 0 <= coef < math.inf:
        raise ValueError(f"coef={coef}: a penalty needs a finite coefficient of 0 or more")

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        penalty = torch.where(plan.mark, coef * terms.log_ratio.abs(), 0.0)
        return replace(terms, loss=terms.loss + penalty)

    return transform


def entropy_reward(coef: float) -> Transform:
    """loss - coef H, H the full-softmax entropy in nats with its gradient; coef >= 0.

    Raises ValueError where the rows bring no entropy, or one without gradient while the log-probs have theirs: the
    value would show the bonus and the weights would never feel it.
    """
    if not 0 <= coef < math.inf:
        raise ValueError(
            f"coef={coef}: it must be finite and 0 or more; a paper that prints it negative multiplies the loss"
        )

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        if rows.entropy is None:
            raise ValueError("entropy bonus: these rows carry no entropy; pass Rows(entropy=...) with its gradient")
        if rows.logp.requires_grad and not rows.entropy.requires_grad:
            raise ValueError("entropy bonus: the entropy carries no gradient, so the bonus would train nothing")
        return replace(terms, loss=terms.loss - coef * rows.entropy)

    return transform


def marked_likelihood(coef: float) -> Transform:
    """loss - coef log p on the plan's marked tokens, as supervised training does with an answer; coef >= 0."""
    if not 0 <= coef < math.inf:
        raise ValueError(f"positive_coef={coef}: it weighs a likelihood, so it must be finite and 0 or more")

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        if coef == 0:
            return terms  # 0 * log 0 would be nan
        return replace(terms, loss=torch.where(plan.mark, terms.loss - coef * rows.logp, terms.loss))

    return transform


def check_bounds(clip_low: float, clip_high: float) -> None:
    """ValueError unless a ratio can be clipped to [1 - clip_low, 1 + clip_high]."""
    if not 0 <= clip_low <= 1:
        raise ValueError(f"clip_low={clip_low}: the ratio is clipped at 1 - clip_low, so it must be from 0 to 1")
    check_upper(clip_high)


def check_upper(clip_high: float) -> None:
    """ValueError unless a ratio can be clipped at 1 + clip_high."""
    if not 0 <= clip_high < math.inf:
        raise ValueError(f"clip_high={clip_high}: the ratio is clipped at 1 + clip_high, so it must be 0 or more")


def exp_ratio(log_ratio: Float[Tensor, "B T"], *, finite: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """exp(log_ratio), kept below overflow where ``finite``: there no gradient passes, and 0 * inf would make it nan."""
    ceiling = math.log(torch.finfo(log_ratio.dtype).max) - 1
    return torch.exp(torch.where(finite, log_ratio.clamp(max=ceiling), log_ratio))


def unit_ratio(logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """p / sg(p): 1, with the gradient of log p, also where p is 0.

    >>> logp = torch.tensor([[-2.0, -torch.inf]], requires_grad=True)
    >>> torch.autograd.grad((3 * unit_ratio(logp)).sum(), logp)
    (tensor([[3., 3.]]),)
    """
    return _UnitRatio.apply(logp)  # type: ignore[no-any-return]


class _UnitRatio(torch.autograd.Function):
    """exp(x - sg(x)) would be nan for an infinite x, in value and gradient."""

    @staticmethod
    def forward(ctx: Any, logp: Tensor) -> Tensor:
        return torch.ones_like(logp)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]
