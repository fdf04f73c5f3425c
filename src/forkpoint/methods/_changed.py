"""Which tokens a method treated differently from plain policy gradient: what it did, not what it was asked to do.

A method can do nothing without any error: every ratio is 1, a band holds no token, a penalty has no gradient where it
starts. This looks at tensors alone, runs no model and draws nothing.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from forkpoint.batch import Plan, Rows, StepBatch
from forkpoint.methods._method import Method
from forkpoint.objectives import Objective, chain
from forkpoint.objectives._steps import policy_gradient

_PLAIN = chain(policy_gradient())


class _Weights(NamedTuple):
    """How one unit of the summed token losses pulls at each token."""

    logp: Float[Tensor, "B T"]
    entropy: Float[Tensor, "B T"]


def changed(method: Method, step: StepBatch, plan: Plan) -> Bool[Tensor, "B T"]:
    """True where d loss / d log p differs from -r A, A the host's own advantage, or where d loss / d H is not 0.

    Taken by autograd on the token losses before any average, in float64, so that a difference is the method's and not
    rounding's. False where masked, and where the plain weight itself is nan: ``guard/nonfinite`` counts those.

    >>> from forkpoint.methods.grpo import grpo
    >>> logp = torch.tensor([[1.5, 0.5, 1.1]]).log()
    >>> step = StepBatch(logp, torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.ones(1))
    >>> changed(grpo(), step, grpo().plan(step))                # A = 1: only the ratio 1.5 is clipped
    tensor([[ True, False, False]])
    """
    ours = _weights(method.objective, step, plan)
    plain = _weights(_PLAIN, step, Plan.neutral(step))
    moved = ~torch.isclose(ours.logp, plain.logp, rtol=1e-9, atol=0.0) | (ours.entropy != 0)
    return step.mask & moved & ~plain.logp.isnan()


def _weights(objective: Objective, step: StepBatch, plan: Plan) -> _Weights:
    exact = torch.float32 if step.logp.device.type == "mps" else torch.float64  # Apple GPUs have no float64
    logp = step.logp.detach().to(exact).requires_grad_()
    entropy = None if step.entropy is None else step.entropy.detach().to(exact).requires_grad_()
    leaves = [leaf for leaf in (logp, entropy) if leaf is not None]
    with torch.enable_grad():
        loss = objective(Rows(logp, step.logp_old.to(exact), step.mask, entropy), plan).sum()
    if not loss.requires_grad:
        return _Weights(torch.zeros_like(logp), torch.zeros_like(logp))
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    by_logp, by_entropy = (*found, None)[:2]
    return _Weights(*(torch.zeros_like(logp) if weight is None else weight for weight in (by_logp, by_entropy)))
