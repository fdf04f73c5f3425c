"""Marks the tokens whose log-prob and advantage covary most (arXiv:2505.22617, KL-Cov).

    Cov_i = (log p_i - mean log p) (A_i - mean A),    means over all N tokens of the step, A as earlier rules left it

The top max(1, floor(share N)) tokens are marked, of those whose weight no earlier rule has set to 0; an objective
decides what a mark costs. Scores that are equal to the last bit go to the smaller (row_id, position). Where no token
stands out (one answer, no advantage, N = 0) nothing is marked: every covariance is then zero up to rounding, and a
"top" would be an arbitrary token.

Differs from the authors' code, which ranks inside each micro-batch: ``per_micro_batch`` of this folder does that too.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from forkpoint.batch import ALONE, Plan, StepBatch
from forkpoint.credit._rule import At, CreditRule, Key, declares
from forkpoint.credit._select import check_share, quota, top_by_score
from forkpoint.metrics.covariance import check_at, logp_at, token_covariance


def kl_covariance(*, share: float = 2e-3, at: At = "update") -> CreditRule:
    """Mark the ``share`` of the step's tokens with the largest covariance, log p being of the policy that ``at`` names.

    share in (0, 1], at "update" (policy in training) or "rollout" (policy that sampled); ValueError
    otherwise.

    >>> logp = torch.tensor([[-1.0, -3.0], [-1.0, -3.0]])
    >>> step = StepBatch(logp, logp, torch.ones(2, 2, dtype=torch.bool), torch.tensor([2.0, -1.0]))
    >>> kl_covariance(share=0.25)(step, Plan.neutral(step), (0, 0)).mark     # Cov = 1.5, -1.5 / -1.5, 1.5: first wins
    tensor([[ True, False],
            [False, False]])
    """
    check_share(share)
    check_at(at)

    @declares(sharded=True, at=at, advantage="read")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        covariance = token_covariance(step, at, plan.advantage)
        if not _stands_out(covariance, plan.advantage, step, at):
            return plan
        num = quota(share, step.mask, step.ranks)
        chosen = top_by_score(covariance, step.mask & (plan.weight != 0), num, step.identity, step.ranks)
        return replace(plan, mark=plan.mark | chosen)

    return rule


def _stands_out(covariance: Float[Tensor, "B T"], advantage: Float[Tensor, "B T"], step: StepBatch, at: At) -> bool:
    """Whether the covariances differ by more than rounding: centering leaves noise of about 1e-16 |log p| |A|.

    False where one of them is nan: then all are, and there is no order to choose by.
    """
    inside, logp, own = covariance[step.mask], logp_at(step, at)[step.mask], advantage[step.mask]
    spans = torch.stack([_largest(values) for values in (inside, -inside, logp.abs(), own.abs())])
    # gathered and not reduced: a reduction over processes may lose a nan
    top, bottom, logp_span, advantage_span = map(float, (step.ranks or ALONE).gather(spans).amax(0))
    return top + bottom > 1e-12 * logp_span * advantage_span


def _largest(values: Float[Tensor, " n"]) -> Float64[Tensor, ""]:
    """The largest, nan where one is nan, -inf where this rank has none."""
    return torch.cat([values.detach().double(), values.new_tensor([-torch.inf], dtype=torch.float64)]).amax()
