"""Entrocraft: learn from good answers only above an entropy band, from bad ones only below it (arXiv:2604.26326).

    sign = 1 where H > upper, -1 where H < lower, else 0                 edges anneal over the run
    keep the answers with sign A >= 0, then the clipped surrogate as a mean over what is kept

H is the token mean of the full-softmax entropy, measured in one step and acting in the next.

Settings of the authors' script  band 0.6 to 0.7, moving on a line to 0.4 to 0.5 over the run; the paper found a line
better than a constant or a cosine.
Differs from the authors' code: answers are kept or dropped by the sign of the host's advantage, as in the paper's
algorithm, so rewards of 0 and 1 work and the group baseline stays at a switch; the code changes the estimator instead.
The mean over what is kept is one over the step's tokens, not over each prompt's answers. H is the last step's.
``sign`` may be a fraction: answers on the wrong side then weigh 1 - |sign|.
Pitfalls  Whole steps are switched, so entropy swings around an edge. Late in a run bad answers are rare, and a step
that keeps only them is noisy; one where none is left teaches nothing (control/removed_share is 1). ``entropic`` and
``entropy_budget`` move gradually.
"""

from typing import Literal

from forkpoint.controllers._parts import demand
from forkpoint.controllers.switch import switch
from forkpoint.credit.sign_weights import sign_weights
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip

LIVELY = {"sign": -0.5, "steps": 10.0}


@method
def entrocraft(
    *,
    sign: float = 0.0,
    lower: float = 0.6,
    lower_end: float = 0.4,
    width: float = 0.1,
    steps: float = 1000.0,
    shape: Literal["linear", "cosine"] = "linear",
    normalize: Literal["kept", "all"] = "kept",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Method:
    """Keep entropy in a band of ``width`` nats whose lower edge moves from ``lower`` to ``lower_end`` over ``steps``.

    sign in [-1, 1], edges and width >= 0, steps >= 1, shape "linear" or "cosine", normalize "kept" (the paper's) or
    "all" (dropped answers stay in the denominator), clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp, mask = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
    >>> step = StepBatch(logp, logp, mask, torch.tensor([2.0, -1.0]))
    >>> entrocraft().step_loss(step, knobs={"sign": -1.0})      # the bad answer alone: 1 / 1
    tensor(1.)
    """
    demand(-1.0, 1.0, sign=sign)
    demand(0.0, lower=lower, lower_end=lower_end, width=width)
    demand(1.0, steps=steps)
    edges = {"lower": lower, "upper": lower + width, "lower_end": lower_end, "upper_end": lower_end + width}
    good, bad = 1 + min(sign, 0.0), 1 - max(sign, 0.0)
    return Method(
        (sign_weights(positive=good, negative=bad, normalize=normalize),),
        clip(clip_low=clip_low, clip_high=clip_high),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        controllers=(
            switch("sign", "entropy/full", below=-1.0, inside=0.0, above=1.0, steps=steps, shape=shape, **edges),
        ),
        stand_in=("clip_low", "clip_high"),
    )
