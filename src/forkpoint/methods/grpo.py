"""Group-relative policy optimization: plain clipped policy gradient, the baseline (arXiv:2402.03300).

    loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A),    r = p / p_old

The advantage is the host trainer's; nothing is planned and nothing acts on entropy. A host trainer's own GRPO loss
comes out bit for bit.

Settings of the paper  clip 0.2 on both sides is PPO's (arXiv:1707.06347); the paper adds a KL penalty of 0.04 against
a reference policy, which belongs to the host.
Pitfall  with one update per rollout every ratio is 1, and this is REINFORCE with a group baseline: no clip ever acts.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip

EXEMPT = {"needs_off_policy": "the baseline: it is plain policy gradient on-policy, and is meant to be"}
"""laws of the folder that this method does not keep, with the reason"""


@method
def grpo(*, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """Clip the ratio to [1 - clip_low, 1 + clip_high]; clip_low in [0, 1], clip_high >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[1.5, 0.5]]).log()                 # ratios 1.5 and 0.5
    >>> step = StepBatch(logp, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> grpo().step_loss(step)                                  # -(1.2 + 0.5) / 2
    tensor(-0.8500)
    """
    objective = clip(clip_low=clip_low, clip_high=clip_high)
    return Method((), objective, sets=("epsilon", "epsilon_high"))
