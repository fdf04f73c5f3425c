"""Steps of objectives that keep a token's gradient where the clipped surrogate drops it: per token, bounded weights."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from forkpoint.batch import Plan, Rows
from forkpoint.objectives._steps import Terms, Transform, check_bounds, check_upper, exp_ratio, unit_ratio


def clipped_weight(clip_low: float, clip_high: float) -> Transform:
    """loss = -sg(clip(r, 1 - clip_low, 1 + clip_high)) A log p; both >= 0, and from 1 up clip_low is no bound."""
    if not 0 <= clip_low < math.inf:
        raise ValueError(f"clip_low={clip_low}: the ratio is clipped at 1 - clip_low, so it must be finite, 0 or more")
    check_upper(clip_high)

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        ratio = torch.exp(terms.log_ratio.detach())
        weight = torch.clamp(ratio, 1 - clip_low, 1 + clip_high) * plan.advantage
        # 0 log 0 is 0 here: a token without weight has no loss
        return replace(terms, loss=torch.where(weight == 0, 0.0, -weight * rows.logp))

    return transform


def preserved_clip(
    clip_low: float, clip_high: float, *, beta_low: float, beta_high: float, dual_clip: float
) -> Transform:
    """loss = -sg(w) (p / sg(p)) A, where w is the ratio, bounded on the side that its advantage pushes to.

    w = beta_low (1 - clip_low) where r < 1 - clip_low and A < 0, beta_high (1 + clip_high) where r > 1 + clip_high and
    A > 0, else r. Where A < 0 and w > dual_clip the loss is -dual_clip A, without gradient.
    clip_low in [0, 1], clip_high >= 0, betas >= 0, dual_clip > 1.
    """
    check_bounds(clip_low, clip_high)
    for name, beta in (("beta_low", beta_low), ("beta_high", beta_high)):
        if not 0 <= beta < math.inf:
            raise ValueError(
                f"{name}={beta}: it scales the gradient of clipped tokens, so it must be finite, 0 or more"
            )
    if not 1 < dual_clip < math.inf:
        raise ValueError(f"dual_clip={dual_clip}: it bounds the ratio of tokens with A < 0, so it must be above 1")

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        bad, good = plan.advantage < 0, plan.advantage > 0
        ratio = exp_ratio(terms.log_ratio.detach(), finite=torch.ones_like(bad))
        weight = torch.where(bad & (ratio < 1 - clip_low), beta_low * (1 - clip_low), ratio)
        weight = torch.where(good & (ratio > 1 + clip_high), beta_high * (1 + clip_high), weight)
        stopped = bad & (weight > dual_clip)
        push = torch.where(stopped, dual_clip, weight * unit_ratio(rows.logp))
        return replace(terms, loss=-push * plan.advantage)

    return transform


def soft_gate(tau_pos: float, tau_neg: float) -> Transform:
    """loss = -(4 / tau) sigmoid(tau (r - 1)) A, tau being tau_pos where A > 0 and tau_neg elsewhere; both > 0."""
    for name, tau in (("tau_pos", tau_pos), ("tau_neg", tau_neg)):
        if not 0 < tau < math.inf:
            raise ValueError(f"{name}={tau}: the gate divides by it, so it must be finite and above 0")

    def transform(rows: Rows, plan: Plan, terms: Terms) -> Terms:
        positive = plan.advantage > 0
        tau = torch.full_like(terms.log_ratio, tau_neg).masked_fill(positive, tau_pos)
        gate, slope = _gate(terms.log_ratio.detach(), tau)
        return replace(terms, loss=-(gate + slope * (unit_ratio(rows.logp) - 1)) * plan.advantage)

    return transform


def _gate(log_ratio: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """The gate, and its derivative by log p: 4 sigmoid(x) sigmoid(-x) r.

    Autograd would take sigmoid(x) (1 - sigmoid(x)), which loses its digits for large r and is 0 * inf in the end.
    """
    ratio = exp_ratio(log_ratio, finite=torch.ones_like(log_ratio, dtype=torch.bool))
    x = tau * (ratio - 1)
    # torch.sigmoid gives a value other bits at the end of a tensor, and a row must not depend on the rows around it
    rising, falling = 1 / (1 + torch.exp(-x)), 1 / (1 + torch.exp(x))
    return 4 / tau * rising, 4 * rising * falling * ratio
