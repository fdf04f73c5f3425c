"""SAPO: a smooth gate in place of the clip, narrower for bad answers (arXiv:2511.20347).

    loss = -(4 / tau) sigmoid(tau (r - 1)) A,    r = p / p_old, averaged over answers
    tau = tau_pos where A > 0, else tau_neg

At r = 1 the gate has slope 1, and further off a token's gradient fades instead of stopping. Where A < 0 the gradient
raises the many tokens that were not drawn, so tau_neg is the larger one and fades sooner.

Settings of the paper  tau_pos 1.0, tau_neg 1.05, and a mean over answers.
Differs from verl's form, which caps |log r| at 20: the gate is flat there.
Pitfalls  Inert while every ratio is 1. The gate is not centered: at r = 1 its value is 2 / tau and not 1, so the loss
is no estimate of the reward; compare gradients. At temperatures near 1 it hardly binds within the usual clip of 0.2.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.soft_gate import soft_gate


@method
def sapo(*, tau_pos: float = 1.0, tau_neg: float = 1.05) -> Method:
    """Send the ratio through the gate; tau_pos and tau_neg above 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[1.0, 2.0]]).log()                 # ratios 1 and 2
    >>> step = StepBatch(logp, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> sapo().step_loss(step)                                  # -4 (sigmoid(0) + sigmoid(1)) / 2
    tensor(-2.4621)
    """
    return Method(
        (),
        soft_gate(tau_pos=tau_pos, tau_neg=tau_neg),
        needs_off_policy=True,
        sets=("epsilon", "epsilon_high"),
        reduction="sequence_mean",
    )
