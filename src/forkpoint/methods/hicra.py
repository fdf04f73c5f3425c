"""HICRA: more credit, and less blame, for the tokens that plan (arXiv:2509.03646).

    A = R - mean of the group's R    (baseline="group_mean")
    A' = A + alpha |A| on planning tokens, A elsewhere,    then the clipped surrogate

Execution is mastered first; what is left to learn is strategy, and a mean over all tokens hardly sees it.

Settings of the paper  alpha 0.2, over GRPO with clip-higher (0.2 and 0.28), planning tokens found as word n-grams that
many correct solutions share. There is no official training code.
Differs from the paper in where planning tokens come from: a task's labels, or ``manage(..., labels=...)``.
Baseline  "group_mean" is the paper's, without a standard deviation; "host" takes the advantage that the host trainer
made, usually divided by the group's standard deviation.
Pitfalls  A' no longer sums to zero over a group: planning tokens are pushed up by alpha mean |A| whatever they say.
Most tokens of high entropy do not plan, so a mask of forking tokens is no substitute. Phrases that many solutions
share by habit are labeled as planning too: look at the share of labeled tokens. In the paper's table Llama-3.1-8B
loses against GRPO on two of six sets.
"""

from typing import Literal

from forkpoint.credit.group_mean import group_mean
from forkpoint.credit.role_bonus import Role, role_bonus
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def hicra(
    *,
    alpha: float = 0.2,
    role: Role = "planning",
    baseline: Literal["group_mean", "host"] = "group_mean",
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> Method:
    """Raise the advantage of the role's tokens by alpha |A|.

    alpha in [0, 1], role and baseline one of their words, clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)
    >>> step = StepBatch(zeros, zeros, mask, zeros[0], label=torch.tensor([[3, 2], [3, 2]]),
    ...                  reward=torch.tensor([1.0, 0.0]), group_reward=torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    >>> hicra().step_loss(step)                                 # A' = 0.6, 0.5, -0.4, -0.5: -0.2 / 4
    tensor(-0.0500)
    """
    centers = baseline == "group_mean"
    bonus = role_bonus(alpha=alpha, role=role)
    return Method(
        (group_mean(), bonus) if centers else (bonus,),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("label", "reward", "group_reward") if centers else ("label",),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        stand_in=("clip_low", "clip_high"),
    )
