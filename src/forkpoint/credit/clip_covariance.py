"""Takes the gradient from a random few of the tokens that drain entropy fastest (arXiv:2505.22617, Clip-Cov).

    Cov_i = (log p_i - mean log p) (A_i - mean A),    means over all N tokens of the step, A as earlier rules left it

Candidates have low < Cov < high, are not clipped already at 1 - clip_low or 1 + clip_high, and have a weight that no
earlier rule has set to 0. Of these, max(1, floor(share N)) are drawn uniformly without replacement and get weight 0;
they stay in the denominator.
Fewer candidates than asked: all are taken. None: nothing happens, which is common late in training, when few
covariances reach ``low``.

Differs from the authors' code, which draws inside each micro-batch from an unseeded generator; here the draw is one
function of (run seed, step, row_id, position).
"""

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import At, CreditRule, Key, declares
from forkpoint.credit._select import check_share, draw_by_hash, quota
from forkpoint.metrics.covariance import check_at, token_covariance


def clip_covariance(
    *,
    share: float = 2e-4,
    low: float = 1.0,
    high: float = 5.0,
    clip_low: float = 1.0,
    clip_high: float = 1.0,
    at: At = "update",
) -> CreditRule:
    """Weight 0 for a drawn ``share`` of the step's tokens inside the covariance band.

    share in (0, 1], low < high, clip_low in [0, 1], clip_high >= 0, at "update" (policy in training) or
    "rollout" (policy that sampled); ValueError otherwise. At "rollout" every ratio is 1, so no candidate is clipped.

    >>> logp = torch.tensor([[-1.0, -3.0], [-1.0, -3.0]])
    >>> step = StepBatch(logp, logp, torch.ones(2, 2, dtype=torch.bool), torch.tensor([2.0, -1.0]))
    >>> clip_covariance(share=1.0)(step, Plan.neutral(step), (0, 0)).weight  # Cov = 1.5, -1.5 / -1.5, 1.5
    tensor([[0., 1.],
            [1., 0.]])
    """
    check_share(share)
    check_at(at)
    if not low < high:
        raise ValueError(f"low={low}, high={high}: the covariance band is empty; low must be below high")
    if not (0 <= clip_low <= 1 and clip_high >= 0):
        raise ValueError(f"clip_low={clip_low}, clip_high={clip_high}: clip_low is from 0 to 1, clip_high 0 or more")

    @declares(sharded=True, at=at, advantage="read")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        covariance = token_covariance(step, at, plan.advantage)
        candidates = step.mask & (plan.weight != 0) & (low < covariance) & (covariance < high)
        if at == "update":
            candidates &= ~_clipped(step, plan, clip_low, clip_high)
        num = quota(share, step.mask, step.ranks)
        chosen = draw_by_hash(candidates, num, step.identity, key, step.ranks)
        return replace(plan, weight=torch.where(chosen, 0.0, plan.weight))

    return rule


def _clipped(step: StepBatch, plan: Plan, clip_low: float, clip_high: float) -> Bool[Tensor, "B T"]:
    """Tokens that the clipped surrogate gives no gradient to."""
    ratio = (step.logp.detach() - step.logp_old).exp()
    above, below = ratio > 1 + clip_high, ratio < 1 - clip_low
    return (above & (plan.advantage > 0)) | (below & (plan.advantage < 0))
