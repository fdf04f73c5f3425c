"""Pass@k training: the prompt is rewarded when one of k answers is right, in closed form (arXiv:2508.10751).

    rho = 1 - C(wrong, k) / C(n, k),    sigma = sqrt(rho (1 - rho)) + 1e-6
    A = (1 - rho) / sigma of a right answer, (1 - rho - C(wrong - 1, k - 1) / C(n - 1, k - 1)) / sigma of a wrong one

n answers per prompt, ``wrong`` of them wrong. k = 1 is GRPO with a population standard deviation. A larger k puts the
credit where right answers are rare and takes it away where k answers would hardly all miss.

Settings of the paper  the advantage above; the authors' code leaves k to the user, and 4 is ours, for groups of 8 or
more. The bounds are PPO's 0.2.
Differs from nothing published. Another method of nearly this name (arXiv:2503.19595) rewards the best answer only.
Pitfalls  Needs rewards of 0 and 1 and groups larger than k: with k = n every advantage is 0. Where more than n - k
answers are right nothing is learned from the prompt, so exact skill is polished by k = 1 afterwards.
"""

from forkpoint.credit.pass_at_k_advantage import LIVELY as LIVELY
from forkpoint.credit.pass_at_k_advantage import pass_at_k_advantage
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def pass_at_k(*, k: float = 4.0, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """Advantage of the chance that one of ``k`` answers is right.

    k a whole number from 1 to the group's size, clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(8, 1), torch.ones(8, 1, dtype=torch.bool)
    >>> reward = torch.tensor([1.0, 1.0, 0, 0, 0, 0, 0, 0])
    >>> step = StepBatch(zeros, zeros, mask, zeros[:, 0], reward=reward, group_reward=reward.expand(8, 8))
    >>> pass_at_k().plan(step).advantage[1:3, 0]                # rho = 1 - 15/70
    tensor([ 0.5222, -0.1741])
    """
    return Method(
        (pass_at_k_advantage(k=k),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("reward", "group_reward"),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        rewards=(0.0, 1.0),
        least_group=int(k) + 1,
        stand_in=("clip_low", "clip_high"),
    )
