"""Policy gradient with a KL penalty on marked tokens only (arXiv:2505.22617).

    loss = -r A + coef |log r| [marked],    r = p / p_old

|log r| is the absolute k1 estimator: its gradient has the constant size ``coef`` and points back to the old policy,
however far the token has moved. Nothing is clipped.
"""

from forkpoint.objectives._steps import Objective, chain, marked_penalty, policy_gradient


def marked_kl(*, coef: float = 1.0) -> Objective:
    """-r A, plus coef |log r| where the plan marks the token; coef >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import Plan, Rows
    >>> rows = Rows(torch.tensor([[0.5, 0.5]]).log(), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    >>> plan = Plan(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([[False, True]]))
    >>> marked_kl()(rows, plan)                     # -0.5, and -0.5 + |ln 0.5| = -0.5 + 0.6931
    tensor([[-0.5000,  0.1931]])
    """
    return chain(policy_gradient(), marked_penalty(coef))
