"""GPPO: the clipped surrogate's value, with the gradient of clipped tokens kept and bounded (arXiv:2508.07629).

    loss = -min(r A, clip(r, (1 - clip_low) r / sg(r), (1 + clip_high) r / sg(r)) A)
           - positive_coef log p [right answer],    r = p / p_old, sg = no gradient

    weight of A grad log p        clipped surrogate    here
    r > 1 + clip_high, A > 0      0                    beta_high (1 + clip_high)
    r < 1 - clip_low, A < 0       0                    beta_low (1 - clip_low)
    r > dual_clip, A < 0          0                    0
    elsewhere                     r                    r

Where beta is not 1 it scales the token's value as well.

Settings of the paper  0.2 and 0.28, both betas 1, a dual clip of 10, and positive_coef 0.1. The default 0 is that of
the authors' code; their training scripts set 0.1. Their later advice is beta_low 0.25 to 0.5.
Differs from the authors' code: the likelihood of right answers is averaged as the rest of the loss is, over all tokens
of the step; theirs over the tokens of right answers in a micro-batch, which is larger by N / N_right.
Pitfalls  "No gradient is lost" holds up to the dual clip. Gradient from the low side lowers entropy. Without
positive_coef it is inert while every ratio is 1. A row is right from a reward of 0.5 up.
"""

from forkpoint.credit.right_answers import right_answers
from forkpoint.methods._method import Method, method
from forkpoint.objectives.preserved_clip import preserved_clip

LIVELY = {"dual_clip": 2.4}
"""10 is beyond the ratios of a small step"""


@method
def gppo(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    beta_low: float = 1.0,
    beta_high: float = 1.0,
    dual_clip: float = 10.0,
    positive_coef: float = 0.0,
) -> Method:
    """Clip, keep the gradient, and learn right answers by their likelihood where ``positive_coef`` is above 0.

    clip_low in [0, 1], clip_high >= 0, betas >= 0, dual_clip > 1, positive_coef >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[1.5, 0.5]]).log().requires_grad_()         # ratios 1.5 and 0.5
    >>> step = StepBatch(logp, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> loss = gppo().step_loss(step)                           # -(1.28 + 0.5) / 2, as with clip-higher
    >>> loss.backward()
    >>> loss.detach(), logp.grad                                # and the first token still learns: -1.28 / 2, -0.5 / 2
    (tensor(-0.8900), tensor([[-0.6400, -0.2500]]))
    """
    objective = preserved_clip(
        clip_low=clip_low,
        clip_high=clip_high,
        beta_low=beta_low,
        beta_high=beta_high,
        dual_clip=dual_clip,
        positive_coef=positive_coef,
    )
    return Method(
        (right_answers(),) if positive_coef else (),
        objective,
        reads=("reward",) if positive_coef else (),
        needs_off_policy=not positive_coef,
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
    )
