"""Dr. GRPO: the group's mean as baseline, divided by no spread and no length (arXiv:2503.20783).

    A = R - mean of the group's rewards
    loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A),    r = p / p_old, summed over tokens / a constant

Dividing by the standard deviation favors prompts that are nearly always or nearly never solved; dividing by an answer's
own length favors long wrong answers.

Settings of the paper  a clip of 0.2, and the budget of tokens per answer as the constant.
The constant  is the host's. Under TRL set loss_type="dr_grpo": (token losses summed) / (rows * max_completion_length).
loss_type="grpo" divides by an answer's length again.
Without a host the mean is over the step's tokens: the same gradient but for a factor that all tokens of a step share.
TRL's scale_rewards has no effect here: the advantage is made from the rewards.
Pitfalls  Advantages shrink with the spread of rewards, and the gradient with them, where GRPO's keep their size: the
learning rate of a GRPO run is not that of this one. Covariance bands such as Clip-Cov's assume unit variance.
"""

from forkpoint.credit.group_mean import group_mean
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def dr_grpo(*, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """Center rewards by group, then clip; clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
    >>> step = StepBatch(zeros, zeros, mask, zeros[:, 0], reward=torch.tensor([1.0, 0.0]),
    ...                  group_reward=torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 2))
    >>> dr_grpo().step_loss(step)                               # A = 0.75 and -0.25: -(0.75 - 0.25) / 2
    tensor(-0.2500)
    """
    return Method(
        (group_mean(),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("reward", "group_reward"),
        sets=("epsilon", "epsilon_high"),
        stand_in=("clip_low", "clip_high"),
    )
