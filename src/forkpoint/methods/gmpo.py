"""GMPO: the geometric mean of an answer's ratios, each bounded where its advantage pushes (arXiv:2507.20673).

    x = min(log r, clip_high) where A > 0, max(log r, -clip_low) where A < 0,    r = p / p_old
    loss = -exp(mean over the answer of x) A,    averaged over answers

An arithmetic mean of ratios follows its largest; a geometric one is hardly moved by one token, so the bounds may be
wide.

Settings of the paper  (e^-0.4, e^0.4), that is 0.4 and 0.4 nats, and a mean over answers.
Differs from the authors' code: a plan may weigh or drop single tokens, and give the tokens of one answer advantages of
different signs; each is then bounded by its own sign (x = 0 where A = 0) and gets the gradient of its own advantage,
-G A_t / T, not that of the mean over the answer. A row without tokens does not count as an answer.
Pitfalls  The bounds are in nats and not ratios: 0.4 lets a ratio reach 1.49. A clipped token has no gradient but its
bound still scales the gradient of its whole answer. Inert while every ratio is 1.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.geometric_mean import geometric_mean


@method
def gmpo(*, clip_low: float = 0.4, clip_high: float = 0.4) -> Method:
    """Bound log r by clip_high above (A > 0) or -clip_low below (A < 0), in nats; both >= 0, ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[0.6, 0.2]])                       # the first is clipped to 0.4
    >>> step = StepBatch(logp, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> gmpo().step_loss(step)                                  # -exp((0.4 + 0.2) / 2)
    tensor(-1.3499)
    """
    return Method(
        (),
        geometric_mean(clip_low=clip_low, clip_high=clip_high),
        needs_off_policy=True,
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        reduction="sequence_mean",
    )
