"""Quantile advantage estimation: a quantile of the group's rewards as baseline, not their mean (arXiv:2509.22611).

    A = (R - Q) / (std + 1e-6),    Q = min{x : F(x) >= quantile} of the group's rewards, std with G - 1

For rewards of 0 and 1: where a share of 1 - quantile or less of the answers is right, only right ones teach; elsewhere
only wrong ones do. All others have the advantage 0.

Settings of the paper  quantile 0.4, and 0.6 where entropy collapses, over DAPO (bounds 0.2 and 0.28).
Differs from the authors' code: Q is the quantile of the paper's proofs, an attained reward. estimator="linear"
interpolates between rewards, as their code does, and then both sides move at some success rates.
Pitfalls  Most answers get the advantage 0 (the paper: about 80 %), so the effective batch is small, and a mean over all
tokens is small with it. A larger quantile turns more prompts to the side where only wrong answers teach,
which feeds entropy.
"""

from forkpoint.credit.quantile_baseline import Estimator, quantile_baseline
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def quantile_advantage(
    *, quantile: float = 0.4, estimator: Estimator = "empirical", clip_low: float = 0.2, clip_high: float = 0.28
) -> Method:
    """Advantage over the ``quantile`` of the group's rewards, in standard deviations of the group.

    quantile in [0, 1], estimator "empirical" or "linear", clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(4, 1), torch.ones(4, 1, dtype=torch.bool)
    >>> step = StepBatch(zeros, zeros, mask, zeros[:, 0], reward=torch.tensor([1.0, 1.0, 1.0, 0.0]),
    ...                  group_reward=torch.tensor([[1.0, 1.0, 1.0, 0.0]] * 4))
    >>> quantile_advantage().step_loss(step)                    # p = 0.75 > 0.6, so Q = 1: (0 + 0 + 0 + 1 / 0.5) / 4
    tensor(0.5000)
    """
    return Method(
        (quantile_baseline(quantile=quantile, estimator=estimator),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("reward", "group_reward"),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        stand_in=("clip_low", "clip_high"),
    )
