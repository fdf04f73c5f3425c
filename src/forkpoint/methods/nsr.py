"""NSR: learn mostly from wrong answers, by weighting right ones down (arXiv:2506.01347, W-REINFORCE).

    A = positive where the reward is ``threshold`` or more, -1 elsewhere,    then the clipped surrogate

Lowering a wrong answer spreads its probability by what the policy believed already, so variety survives; raising a
right one concentrates it.

Settings of the paper  positive 0.1 (its lambda) for W-REINFORCE, and a clip of 0.2. positive=0 is its negative sample
reinforcement and positive=1 plain REINFORCE without a baseline.
Differs from the authors' code: with positive=0 right answers stay in the denominator, where the authors drop them from
the batch; the gradient has the same direction.
Pitfalls  Rewards of 0 and 1 are read by the threshold and never used raw: a wrong answer's 0 would teach nothing. There
is no baseline, so a step's gradient grows with the share of wrong answers, and where all answers are right only
``positive`` teaches. A row without a reward (no verdict) gets the advantage 0.
"""

from forkpoint.credit.signed_reward import signed_reward
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def nsr(*, positive: float = 0.1, threshold: float = 0.5, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """Advantage ``positive`` for right answers and -1 for wrong ones.

    positive >= 0, threshold finite, clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
    >>> step = StepBatch(zeros, zeros, mask, zeros[:, 0], reward=torch.tensor([1.0, 0.0]))
    >>> nsr().step_loss(step)                                   # (-0.1 + 1) / 2
    tensor(0.4500)
    """
    return Method(
        (signed_reward(positive=positive, threshold=threshold),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("reward",),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        stand_in=("clip_low", "clip_high"),
    )
