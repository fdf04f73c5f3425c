"""CE-GPPO: how much gradient comes back from clipped tokens, one dose per side, steers entropy (arXiv:2509.20712).

    loss = -w A,    w = beta_low (1 - clip_low) r / sg(r) where r < 1 - clip_low and A < 0,
                    w = beta_high (1 + clip_high) r / sg(r) where r > 1 + clip_high and A > 0,
                    w = r elsewhere

Raising unlikely tokens (A > 0, above the upper bound) feeds entropy; lowering them further (A < 0, below the lower
bound) drains it. beta_high and beta_low weigh the two.

Settings of the paper  beta_high 1 with beta_low 0.75 for the 7B model, 0.5 for the 1.5B one. The authors' scripts clip
at 0.2 on both sides, with a dual clip of 10.
Differs from the authors' code: their scripts also subtract 0.1 times the log-likelihood of right answers; ``gppo`` has
that term.
Pitfalls  A beta scales the token's loss as well as its gradient. beta_low above beta_high drains entropy. Inert while
every ratio is 1.
"""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.preserved_clip import preserved_clip

LIVELY = {"dual_clip": 2.4}
"""10 is beyond the ratios of a small step"""


@method
def ce_gppo(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta_low: float = 0.75,
    beta_high: float = 1.0,
    dual_clip: float = 10.0,
) -> Method:
    """Clip, and let clipped tokens pull with beta times the bound.

    clip_low in [0, 1], clip_high >= 0, betas >= 0, dual_clip > 1; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[1.5, 0.5]]).log()                 # ratios 1.5 and 0.5
    >>> step = StepBatch(logp, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.tensor([-1.0]))
    >>> ce_gppo().step_loss(step)                               # (1.5 + 0.75 * 0.8) / 2
    tensor(1.0500)
    """
    objective = preserved_clip(
        clip_low=clip_low, clip_high=clip_high, beta_low=beta_low, beta_high=beta_high, dual_clip=dual_clip
    )
    return Method((), objective, needs_off_policy=True, intervenes=True, sets=("epsilon", "epsilon_high"))
