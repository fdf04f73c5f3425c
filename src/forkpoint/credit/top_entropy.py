"""Keeps the tokens of highest entropy and takes the gradient from all others (arXiv:2506.01939).

    kept = the max(1, floor(share N + 0.9999)) largest H of the step's N tokens
    weight N / kept on them, 0 elsewhere    (normalize="kept": a mean over all N is then one over the kept)
    weight 1 on them, 0 elsewhere           (normalize="all": the removed tokens stay in the denominator)

The count is the authors' ceiling, which forgives 1e-4 of a token of rounding. Equal entropies go to the smaller
(row_id, position). An entropy of nan is never kept; where every one is nan the plan is left alone.

Differs from the authors' code, which ranks inside each micro-batch: ``per_micro_batch`` of this folder does that too.
"""

from dataclasses import replace
from typing import Literal

import torch

from forkpoint.batch import ALONE, Plan, StepBatch
from forkpoint.credit._nth import total
from forkpoint.credit._rule import CreditRule, Key, declares
from forkpoint.credit._select import check_share, top_by_score

Normalize = Literal["kept", "all"]
"""what the loss of the kept tokens is divided by"""


def top_entropy(*, share: float = 0.2, normalize: Normalize = "kept") -> CreditRule:
    """Keep the ``share`` of the step's tokens with the highest entropy.

    share in (0, 1], normalize "kept" or "all"; ValueError otherwise, and for a step without entropy.

    >>> entropy = torch.tensor([[0.0, 1.2, 0.7], [0.9, 0.1, 9.9]])
    >>> mask = torch.tensor([[True, True, True], [True, True, False]])
    >>> step = StepBatch(entropy, entropy, mask, torch.ones(2), entropy=entropy)
    >>> top_entropy(share=0.4)(step, Plan.neutral(step), (0, 0)).weight      # 2 of 5 kept, the masked one is no token
    tensor([[0.0000, 2.5000, 0.0000],
            [2.5000, 0.0000, 1.0000]])
    """
    check_share(share)
    if normalize not in ("kept", "all"):
        raise ValueError(f"normalize={normalize!r}: choose 'kept' or 'all'")

    @declares(sharded=True)
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        if step.entropy is None:
            raise ValueError("StepBatch.entropy is not filled and top_entropy ranks by it: fill it with each token's")
        ranks = step.ranks or ALONE
        (num,) = total(int(step.mask.sum()), ranks=ranks)
        kept = top_by_score(step.entropy, step.mask, max(1, int(share * num + 0.9999)), step.identity, ranks)
        (num_kept,) = total(int(kept.sum()), ranks=ranks)
        if not num_kept:
            return plan
        weight = plan.weight * (num / num_kept if normalize == "kept" else 1.0)
        return replace(plan, weight=torch.where(step.mask, torch.where(kept, weight, 0.0), plan.weight))

    return rule
