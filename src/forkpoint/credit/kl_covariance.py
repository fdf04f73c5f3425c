"""Marks the tokens whose log-prob and advantage covary most (arXiv:2505.22617, KL-Cov).

    Cov_i = (log p_i - mean log p) (A_i - mean A),    means over all N tokens of the step

The top max(1, floor(share N)) tokens are marked; an objective decides what a mark costs. Equal scores go to the smaller
(row_id, position). Where no token stands out (one answer, no advantage, N = 0) nothing is marked: every covariance is
then zero up to rounding, and a "top" would be an arbitrary token.

Differs from the authors' code, which ranks inside each micro-batch: ``per_micro_batch`` of this folder does that too.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import CreditRule, Key
from forkpoint.credit._select import check_share, quota, top_by_score
from forkpoint.metrics.covariance import token_covariance


def kl_covariance(*, share: float = 2e-3) -> CreditRule:
    """Mark the ``share`` of the step's tokens with the largest covariance.

    share in [0, 1] (0 marks none), ValueError otherwise.

    >>> logp = torch.tensor([[-1.0, -3.0], [-1.0, -3.0]])
    >>> step = StepBatch(logp, logp, torch.ones(2, 2, dtype=torch.bool), torch.tensor([2.0, -1.0]))
    >>> kl_covariance(share=0.25)(step, Plan.neutral(step), (0, 0)).mark     # Cov = 1.5, -1.5 / -1.5, 1.5: first wins
    tensor([[ True, False],
            [False, False]])
    """
    check_share(share)

    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        covariance = token_covariance(step)
        candidates = step.mask & _stands_out(step, covariance)
        chosen = top_by_score(covariance, candidates, quota(share, step.mask), step.identity)
        return replace(plan, mark=plan.mark | chosen)

    return rule


def _stands_out(step: StepBatch, covariance: Float[Tensor, "B T"]) -> Bool[Tensor, ""]:
    """Whether the covariances differ by more than rounding: centering leaves noise of about 1e-16 |log p| |A|.

    False where one of them is nan: then all are, and there is no order to choose by.
    """
    inside = covariance[step.mask]
    if inside.numel() == 0:
        return torch.zeros((), dtype=torch.bool, device=inside.device)
    rows = step.advantage.double()[step.mask.any(dim=1)]
    scale = step.logp.detach().double()[step.mask].abs().max() * rows.abs().max()
    return inside.max() - inside.min() > 1e-12 * scale
