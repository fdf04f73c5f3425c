"""One weight for the tokens of good answers and one for those of bad ones (arXiv:2511.15248, arXiv:2604.26326).

    weight = positive where A > 0,    negative where A < 0,    1 where A = 0
    divided by its mean over the step's tokens                 normalize "kept"

Good answers mostly hold likely tokens, so raising them drains entropy and lowering bad ones feeds it.
"""

from dataclasses import replace
from typing import Literal

import torch

from forkpoint.batch import ALONE, Plan, StepBatch
from forkpoint.credit._rule import CreditRule, Key, declares

Normalize = Literal["all", "kept"]
"""weights as they are, or scaled so that the host's mean over all tokens is one over the weights that are left"""
LIVELY = {"positive": 0.25, "negative": 1.5, "normalize": "kept"}


def sign_weights(*, positive: float = 1.0, negative: float = 1.0, normalize: Normalize = "all") -> CreditRule:
    """``positive`` on A > 0 and ``negative`` on A < 0; both from 0 to 1e6, ValueError otherwise.

    With "kept" the sums run over all ranks; where every weight is 0 they stay 0, and the step teaches nothing.

    >>> step = StepBatch(torch.zeros(2, 2), torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool),
    ...                  torch.tensor([3.0, -2.0]))
    >>> sign_weights(positive=0.0, normalize="kept")(step, Plan.neutral(step), (0, 0)).weight     # two of four kept
    tensor([[0., 0.],
            [2., 2.]])
    """
    for name, weight in (("positive", positive), ("negative", negative)):
        if not 0 <= weight <= 1e6:
            raise ValueError(
                f"{name}={weight}: a weight below 0 would turn its answers' advantage around; give 0 or more"
            )
    if normalize not in ("all", "kept"):
        raise ValueError(f"normalize={normalize!r}: choose 'all' or 'kept'")

    @declares(sharded=True, row_local=normalize == "all", advantage="read")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        good, bad = ((plan.advantage * sign > 0) & step.mask for sign in (1, -1))
        scale = 1.0
        if normalize == "kept":
            own = torch.stack([good.sum(), bad.sum(), step.mask.sum()]).cpu()
            num_good, num_bad, num = map(int, (step.ranks or ALONE).sum(own))
            kept = positive * num_good + negative * num_bad + (num - num_good - num_bad)
            scale = num / kept if kept > 0 else 1.0
        # tensors of the plan's own dtype: between two Python numbers torch.where would round to float32
        up, down, other = plan.weight.new_tensor([positive * scale, negative * scale, scale])
        weight = torch.where(good, up, torch.where(bad, down, other))
        return replace(plan, weight=torch.where(step.mask, plan.weight * weight, plan.weight))

    return rule
