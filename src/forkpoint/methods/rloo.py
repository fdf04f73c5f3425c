"""RLOO: REINFORCE on whole answers, each compared with the mean of its group's other answers (arXiv:2402.14740).

    A_i = R_i - mean of R_j over the group's other answers
    loss = -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A),    s = exp(sum over the answer of log p - log p_old)

averaged over answers. On-policy s is 1, and the gradient is the paper's: A times the gradient of the answer's log-prob,
a sum over its tokens and not a mean.

Settings of the paper  none of the loss: it makes one update per rollout and needs no ratio. The clipped ratio and its
bounds of 0.2 are those of TRL's RLOOTrainer, for several updates.
Differs from TRL's RLOOTrainer: the KL penalty that it takes off the rewards (beta, 0.05 by default) and its optional
normalizing of advantages are left to the host.
Pitfalls  s is a product over tokens: an answer of 500 tokens that each moved by 0.1 % has moved by 65 %, so long
answers clip almost at once, and a bad one's ratio has no upper bound. Long answers weigh more than under GRPO.
"""

from forkpoint.credit.leave_one_out import leave_one_out
from forkpoint.methods._method import Method, method
from forkpoint.objectives.trajectory_clip import trajectory_clip


@method
def rloo(*, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """Compare with the others, then clip the whole answer's ratio; clip_low in [0, 1], clip_high >= 0, else ValueError.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp, old = torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [-0.0953, 0.0]])       # s = 1 and 1.1
    >>> group = torch.tensor([[1.0, 0.0, 0.0]] * 2)
    >>> step = StepBatch(logp, old, torch.ones(2, 2, dtype=torch.bool), torch.zeros(2), reward=group[0, :2],
    ...                  group_reward=group)
    >>> rloo().step_loss(step)                                  # A = 1 and -0.5: -(1 - 0.5 * 1.1) / 2
    tensor(-0.2250)
    """
    return Method(
        (leave_one_out(),),
        trajectory_clip(clip_low=clip_low, clip_high=clip_high),
        reads=("reward", "group_reward"),
        sets=("epsilon", "epsilon_high"),
        reduction="sequence_mean",
    )
