"""The ratio through a smooth gate instead of a clip (arXiv:2511.20347, SAPO).

    loss = -(4 / tau) sigmoid(tau (r - 1)) A,    r = p / p_old, tau = tau_pos where A > 0, else tau_neg

At r = 1 the gate has slope 1, so the gradient is that of the plain policy gradient; further off it fades as
4 sigmoid(x) sigmoid(-x) r with x = tau (r - 1), the faster the larger tau, and never jumps to 0.
"""

from forkpoint.objectives._steps import Objective, chain
from forkpoint.objectives._weights import soft_gate as transform


def soft_gate(*, tau_pos: float = 1.0, tau_neg: float = 1.05) -> Objective:
    """-gate(r) A for every token; tau_pos and tau_neg finite and above 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[1.0, 2.0]]).log(), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    >>> plan = Plan(torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    >>> soft_gate()(rows, plan)                     # -4 sigmoid(0) and -4 sigmoid(1)
    tensor([[-2.0000, -2.9242]])
    """
    return chain(transform(tau_pos, tau_neg))
