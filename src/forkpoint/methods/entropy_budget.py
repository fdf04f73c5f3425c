"""A spending plan for entropy: from where the run starts to ``end`` nats at step ``steps`` (ours, on arXiv:2505.22617).

    weight 1 - tilt where (log p + H) A > 0 (drains entropy) and 1 + tilt where it is < 0 (feeds it)
    tilt = gain (target(step) - H) + integral_gain sum of earlier errors, clamped to [-1, 1]

The plan begins at the mean of the first five readings, with the tilt at 0. "equal_reward" moves on a line in e^H: where
R = b - a e^H holds, every step then earns the same; "linear" moves on a line in H. A run left alone spends most of its
entropy early and has none left to learn with. H is the token mean of the full-softmax entropy.

Settings  ours. Gains as in ``fork_thermostat``; ``steps`` should be the length of the run.
At  reads the policy in training. center "role" takes the step's mean of log p instead of -H, for hosts without entropy.
Pitfalls  The law behind "equal_reward" is stated for runs without a hand on entropy. A plan that asks for less entropy
than the run would keep also drains on purpose. What a step cannot feed is not reached: see ``fork_thermostat``.
"""

from typing import Literal

from forkpoint.controllers._parts import demand
from forkpoint.controllers.budget import budget
from forkpoint.credit.covariance_tilt import Center, covariance_tilt
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip

LIVELY = {"tilt": 0.5, "steps": 30.0, "gain": 1.0, "integral_gain": 0.1}


@method
def entropy_budget(
    *,
    end: float = 0.05,
    steps: float = 1000.0,
    shape: Literal["equal_reward", "linear"] = "equal_reward",
    gain: float = 5.0,
    integral_gain: float = 0.1,
    tilt: float = 0.0,
    center: Center = "state",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Method:
    """Lead entropy to ``end`` nats at step ``steps``, and hold it there.

    end and gains >= 0, steps >= 1, shape "equal_reward" or "linear", tilt in [-1, 1], center "state" or "role",
    clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[0.8, 0.2]]).log()
    >>> step = StepBatch(logp, logp, torch.ones(1, 2, dtype=torch.bool), torch.ones(1), entropy=torch.full((1, 2), 0.5))
    >>> entropy_budget().step_loss(step, knobs={"tilt": 1.0})   # the likely token drains: -(0 + 2) / 2
    tensor(-1.)
    """
    demand(0.0, end=end, gain=gain, integral_gain=integral_gain)
    demand(1.0, steps=steps)
    demand(-1.0, 1.0, tilt=tilt)
    gains = {"gain": gain, "integral_gain": integral_gain}
    return Method(
        (covariance_tilt(tilt=tilt, center=center),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("entropy",) if center == "state" else (),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        controllers=(budget("tilt", "entropy/full", end=end, steps=steps, shape=shape, **gains),),
        stand_in=("clip_low", "clip_high"),
    )
