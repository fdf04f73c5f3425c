"""Steps of objectives whose ratio belongs to a whole answer. A row's loss stands on each of its tokens.

In the token form: every token's loss has the row's value and the gradient of its own log-prob only, so a weight or a
mask acts on one token, and the mean over the row has the row's value and the row's gradient. The ratio is of all tokens
that the policy chose, also of those that the plan removes.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from forkpoint.batch import Plan, Rows
from forkpoint.objectives._steps import Terms, Transform, check_bounds, exp_ratio, unit_ratio


def sequence_ratio(clip_low: float, clip_high: float, *, mean: bool) -> Transform:
    """loss = -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A) with the answer's ratio s on each of its tokens.

    ``mean``: s = exp(mean of log r over the answer), the length-normalized ratio; else exp(sum), the ratio of the two
    policies' probabilities of the answer. clip_low in [0, 1], clip_high >= 0.
    """
    check_bounds(clip_low, clip_high)

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        log_ratio, count = _sum(log_ratios(rows)), lengths(rows)
        log_ratio = _on_trained(log_ratio / count if mean else log_ratio, rows, plan)
        ratio = exp_ratio(log_ratio, finite=plan.advantage >= 0)
        # a sum has the derivative 1 by each log-prob, and the mean over the row will divide by its length
        pull = unit_ratio(rows.logp) if mean else 1 + count * (unit_ratio(rows.logp) - 1)
        # a ratio too large for its dtype may fit once a small advantage is in it
        over = ratio.isinf()
        fitted = torch.exp(torch.where(over, log_ratio + plan.advantage.abs().log(), 0.0)) * plan.advantage.sign()
        ratio = ratio.clamp(max=torch.finfo(ratio.dtype).max) * pull
        clipped = torch.clamp(ratio, 1 - clip_low, 1 + clip_high)
        whole = torch.where(over, fitted * pull, ratio * plan.advantage)
        return replace(terms, loss=-torch.min(whole, clipped * plan.advantage))

    return transform


def clipped_geometric_mean(clip_low: float, clip_high: float) -> Transform:
    """loss = -exp(mean of x) A, x being log r, at most clip_high where A > 0 and at least -clip_low where A < 0.

    Bounds in nats, both >= 0. A clipped token has no gradient; its x still counts in the mean.
    """
    for name, bound in (("clip_low", clip_low), ("clip_high", clip_high)):
        if not 0 <= bound < math.inf:
            raise ValueError(f"{name}={bound}: it bounds the log-ratio, in nats, so it must be finite and 0 or more")

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        log_ratio, bad, good = log_ratios(rows), plan.advantage < 0, plan.advantage > 0
        clipped = (good & (log_ratio > clip_high)) | (bad & (log_ratio < -clip_low))
        bounded = torch.where(bad, log_ratio.clamp(min=-clip_low), 0.0)
        bounded = torch.where(good, log_ratio.clamp(max=clip_high), bounded)
        mean = _on_trained(_sum(bounded) / lengths(rows), rows, plan)
        ratio = exp_ratio(mean, finite=plan.advantage == 0)
        pull = torch.where(clipped, 1.0, unit_ratio(rows.logp))
        return replace(terms, loss=-ratio * pull * plan.advantage)

    return transform


def log_ratios(rows: Rows) -> Float[Tensor, "B T"]:
    """log p - log p_old in nats without gradient, 0 where masked: unlike ``Terms.log_ratio``, removed tokens count."""
    return torch.where(rows.mask, rows.logp.detach() - rows.logp_old, 0.0)


def lengths(rows: Rows) -> Int[Tensor, "B 1"]:
    """How many tokens of each row the policy chose, 1 for a row without any."""
    return rows.mask.sum(dim=-1, keepdim=True).clamp(min=1)


def _sum(values: Float[Tensor, "B T"]) -> Float[Tensor, "B 1"]:
    return values.sum(dim=-1, keepdim=True)


def _on_trained(values: Float[Tensor, "B 1"], rows: Rows, plan: Plan) -> Float[Tensor, "B T"]:
    """A row's value on its tokens, 0 on those without loss: an overflow there would be 0 * inf in the gradient."""
    return torch.where(rows.mask & (plan.weight != 0), values, 0.0)
