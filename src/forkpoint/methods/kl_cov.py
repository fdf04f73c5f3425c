"""KL-Cov: a KL penalty on the tokens that drain entropy fastest, and no clip (arXiv:2505.22617).

    Cov_i = (log p_i - mean log p) (A_i - mean A),    means over all N tokens of the step
    loss_i = -r_i A_i + coef |log r_i| [Cov_i among the max(1, floor(share N)) largest]

Settings of the paper  coef 1, share 2e-3 for 7B and 2e-4 for 32B models, eight updates per rollout.
Differs from the authors' code: means, quota and ranking are of the whole step, not of each micro-batch; ties go by
(row, position), and a step in which no token stands out is left alone.
At  "update" takes log p from the policy in training, as the authors' code does; "rollout" from the one that sampled,
which costs no extra pass where the step is cut into micro-batches.
Pitfalls  Inert while every ratio is 1: |log r| has no gradient there, so the first update of a rollout is plain policy
gradient. A share is a fraction here: the authors' k_percent = 0.2 is 0.002. Without any clip, a far-off ratio counts
in full.
"""

from forkpoint.credit import At
from forkpoint.credit.kl_covariance import kl_covariance
from forkpoint.methods._method import Method, method
from forkpoint.objectives.marked_kl import marked_kl


@method
def kl_cov(*, share: float = 2e-3, coef: float = 1.0, at: At = "update") -> Method:
    """Penalize |log r| on the ``share`` of tokens with the largest covariance.

    share in (0, 1], coef >= 0, at "update" or "rollout"; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> old = torch.tensor([[-1.0, -3.0], [-1.0, -3.0]])
    >>> step = StepBatch(old + 0.1, old, torch.ones(2, 2, dtype=torch.bool), torch.tensor([2.0, -1.0]))
    >>> kl_cov().step_loss(step)            # -e^0.1 (2 + 2 - 1 - 1) / 4 + 0.1 / 4, the penalty on token (0, 0) alone
    tensor(-0.5276)
    """
    rule, objective = kl_covariance(share=share, at=at), marked_kl(coef=coef)
    return Method((rule,), objective, needs_off_policy=True, intervenes=True, sets=("epsilon", "epsilon_high"))
