"""GSPO: one importance ratio per answer, normalized by its length, and clipped (arXiv:2507.18071).

    s = exp(mean over the answer of log p - log p_old)
    loss = -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A),    averaged over answers

A reward is given to an answer, so the ratio is the answer's too. A mean of logs moves little, which is why the bounds
are hundreds of times narrower than those of a token.

Settings of the paper  3e-4 and 4e-4, and a mean over answers.
Differs from the authors' code: a plan may weigh or drop single tokens; the ratio is then still that of the whole
answer. verl also caps log s at 10.
Pitfalls  An answer is clipped as a whole, so one far-off token can stop all of its answer. Inert while every ratio is
1, and a bound of 0.2 copied from GRPO never clips. Averages over answers: the tokens of a long answer weigh less.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.sequence_clip import sequence_clip


@method
def gspo(*, clip_low: float = 3e-4, clip_high: float = 4e-4) -> Method:
    """Clip the answer's ratio to [1 - clip_low, 1 + clip_high]; clip_low in [0, 1], clip_high >= 0, else ValueError.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[4.0, 1.0]]).log()                 # s = exp((ln 4 + ln 1) / 2) = 2
    >>> step = StepBatch(logp, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.tensor([-1.0]))
    >>> gspo().step_loss(step)                                  # A = -1: nothing bounds it from above
    tensor(2.)
    """
    return Method(
        (),
        sequence_clip(clip_low=clip_low, clip_high=clip_high),
        needs_off_policy=True,
        sets=("epsilon", "epsilon_high"),
        reduction="sequence_mean",
    )
