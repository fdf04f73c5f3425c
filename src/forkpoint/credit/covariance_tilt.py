"""Weights that steer entropy: less on the tokens that drain it, more on those that feed it (after arXiv:2505.22617).

    k_i = (log p_i + H_i) A_i                 H_i = -E[log p] at the token's own position; center "state"
    k_i = (log p_i - mean log p) A_i          the mean over the role's tokens of the step; center "role"
    weight = 1 - tilt where k_i > 0,    1 + tilt where k_i < 0,    1 where k_i = 0 or the role is another

To first order a natural-gradient step of size eta changes the entropy at a position by -eta E[(log p + H) w A], so the
role's entropy by -eta / N (K - tilt G), K = sum k and G = sum |k| >= 0: linear in the tilt, never falling with it, and
with a known gain. At tilt 1 only feeding tokens are left, at -1 only draining ones. No weight is negative, so no
advantage changes sign. A is not centered: a weight multiplies the advantage itself, and (log p - mean)(A - mean) would
count a push that does not exist.

"state" looks at one token at a time and is exact for a tabular policy; "role" needs no entropy, is a heuristic as all
token covariances over many positions are, and is computed over the whole step, other ranks too.
"""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from forkpoint import catalog
from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import CreditRule, Key, declares
from forkpoint.metrics.covariance import covariance

Center = Literal["state", "role"]
LIVELY = {"tilt": 0.5, "role": "all"}
ROUNDING = 1e-6
"""log p and its mean are float32 at best: a difference below this share of them has no sign"""


def covariance_tilt(*, tilt: float = 0.0, role: str = "all", center: Center = "state") -> CreditRule:
    """Tilt the tokens of ``role`` ("all", or one of ``forkpoint.roles``); tilt in [-1, 1], ValueError otherwise.

    Raises ValueError for a step without entropy (center "state") or without what the role reads.

    >>> logp = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log()
    >>> step = StepBatch(logp, logp, torch.ones(2, 2, dtype=torch.bool), torch.tensor([1.0, -1.0]),
    ...                  entropy=torch.full((2, 2), 0.5))
    >>> covariance_tilt(tilt=0.25)(step, Plan.neutral(step), (0, 0)).weight     # log p + H: 0.28, -1.1
    tensor([[0.7500, 1.2500],
            [1.2500, 0.7500]])
    """
    if not -1 <= tilt <= 1:
        raise ValueError(f"tilt={tilt}: weights are 1 - tilt and 1 + tilt, so it must be from -1 to 1")
    if center not in ("state", "role"):
        raise ValueError(f"center={center!r}: choose 'state' or 'role'")

    @declares(sharded=True, row_local=center == "state", advantage="read")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        chosen = step.mask if role == "all" else step.mask & catalog.get("roles", role)(step)
        drains = _drains(step, plan, chosen, center)
        weight = 1 - tilt * drains.to(plan.weight.dtype)
        return replace(plan, weight=torch.where(chosen, plan.weight * weight, plan.weight))

    return rule


def _drains(step: StepBatch, plan: Plan, chosen: Bool[Tensor, "B T"], center: Center) -> Float64[Tensor, "B T"]:
    """The sign of k: 1 where a token drains entropy, -1 where it feeds it; 0 where that is rounding, or nan."""
    logp = step.logp.detach().double()
    mean = _mean(step, chosen, center)
    above = logp - mean
    known = above.abs() > ROUNDING * (logp.abs() + mean.abs())
    return torch.where(chosen & known, above.sign() * plan.advantage.double().sign(), 0.0).nan_to_num()


def _mean(step: StepBatch, chosen: Bool[Tensor, "B T"], center: Center) -> Float64[Tensor, "*shape"]:
    if center == "role":
        return torch.tensor(covariance(step.only(chosen)).over(step.ranks).mean_x, dtype=torch.float64)
    if step.entropy is None:
        raise ValueError('StepBatch.entropy is not filled and the tilt reads it: fill it, or set center="role"')
    return -step.entropy.detach().double()
