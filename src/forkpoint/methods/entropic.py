"""EntroPIC: weights of good and bad answers by a PI controller on entropy (arXiv:2511.15248).

    loss = clipped surrogate, times 1 + tilt where A > 0 and 1 - tilt where A < 0
    tilt = gain (H - target) + integral_gain sum of earlier (H - target)

Above the target good answers weigh more, which drains entropy; below it bad ones do, which feeds it. H is the token
mean of the full-softmax entropy, measured in one step and acting in the next.

Settings  gain 1 and integral_gain 0.01 are those with which the code of arXiv:2604.26326 runs it as a baseline; the
target is the user's, and 0.4 is no published optimum.
Differs from that code: the tilt is clamped to [-1, 1]. Beyond it one weight turns negative and would teach the policy
to repeat its errors; the integral does not wind up while the clamp holds.
Pitfalls  Where almost all answers are right there are few bad tokens to weigh up, and entropy cannot be raised. The
weights do not tell which tokens hold entropy: ``fork_thermostat`` does.
"""

from forkpoint.controllers._parts import demand
from forkpoint.controllers.pi import pi
from forkpoint.credit.sign_weights import sign_weights
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip

LIVELY = {"tilt": 0.5, "gain": 1.0, "integral_gain": 0.1}


@method
def entropic(
    *,
    tilt: float = 0.0,
    target: float = 0.4,
    gain: float = 1.0,
    integral_gain: float = 0.01,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Method:
    """Hold entropy at ``target`` nats by the weights 1 + tilt and 1 - tilt.

    tilt in [-1, 1], target and gains >= 0, clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp, mask = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
    >>> step = StepBatch(logp, logp, mask, torch.tensor([2.0, -1.0]))
    >>> entropic().step_loss(step, knobs={"tilt": 0.5})         # (-2 * 1.5 + 1 * 0.5) / 2
    tensor(-1.2500)
    """
    demand(-1.0, 1.0, tilt=tilt)
    demand(0.0, target=target, gain=gain, integral_gain=integral_gain)
    return Method(
        (sign_weights(positive=1 + tilt, negative=1 - tilt),),
        clip(clip_low=clip_low, clip_high=clip_high),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        controllers=(pi("tilt", "entropy/full", target=target, gain=-gain, integral_gain=-integral_gain),),
        stand_in=("clip_low", "clip_high"),
    )
