"""Two thermostats, one for the forks and one for execution tokens (ours, on the covariance of arXiv:2505.22617).

    k = (log p + H) A,    weight 1 - tilt where k > 0 (drains entropy) and 1 + tilt where k < 0 (feeds it), by role
    tilt of a role = gain e + integral_gain sum of earlier e, clamped to [-1, 1]
    e = (target - H of the role) / target

Good training has living entropy at the forks and little on the mechanics; one mean over all tokens cannot say so. To
first order the tilt moves a role's entropy linearly and in one direction, so plain PI control reaches the set-point;
weights stay >= 0, so no advantage changes its sign. Other tokens are left alone. H of a role is the mean of the
full-softmax entropy over its tokens, measured in one step and acting in the next.

Settings  ours. The tiny policy begins at 0.757 nats at forks and 0.005 at execution tokens, so errors are shares of
their set-point: gains per nat that suit the one never move the other. Stable while one unit of tilt moves a role's
entropy by less than 0.25 of its set-point in a step (docs/design/008-control-of-entropy.md).
At  reads the policy in training. center "role" takes the role's mean of log p instead of -H, for hosts without entropy.
Pitfalls  A set-point is reachable only where feeding tokens outweigh draining ones: at tilt 1 entropy rises by at most
the feeding half, and a clamp that holds for long says that the target is out of reach. Needs labels of the task.
"""

from forkpoint.controllers import Controller
from forkpoint.controllers._parts import demand
from forkpoint.controllers.pi import pi
from forkpoint.credit.covariance_tilt import Center, covariance_tilt
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip

LIVELY = {"tilt_fork": 0.5, "tilt_execution": -0.5, "gain": 1.0, "integral_gain": 0.1}


@method
def fork_thermostat(
    *,
    target_fork: float = 0.75,
    target_execution: float = 0.02,
    gain: float = 4.0,
    integral_gain: float = 0.1,
    tilt_fork: float = 0.0,
    tilt_execution: float = 0.0,
    center: Center = "state",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Method:
    """Hold forks at ``target_fork`` nats and execution tokens at ``target_execution``.

    targets > 0, gains >= 0, tilts in [-1, 1], center "state" or "role", clip_low in [0, 1], clip_high >= 0; ValueError
    otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp = torch.tensor([[0.8, 0.8]]).log()
    >>> step = StepBatch(logp, logp, torch.ones(1, 2, dtype=torch.bool), torch.ones(1),
    ...                  entropy=torch.full((1, 2), 0.5), label=torch.tensor([[1, 2]]))     # a fork, then execution
    >>> fork_thermostat().step_loss(step, knobs={"tilt_fork": 0.5})         # both drain: -(0.5 + 1) / 2
    tensor(-0.7500)
    """
    demand(0.0, gain=gain, integral_gain=integral_gain)
    demand(1e-6, target_fork=target_fork, target_execution=target_execution)
    demand(-1.0, 1.0, tilt_fork=tilt_fork, tilt_execution=tilt_execution)
    return Method(
        (
            covariance_tilt(tilt=tilt_fork, role="fork", center=center),
            covariance_tilt(tilt=tilt_execution, role="execution", center=center),
        ),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("label", "entropy") if center == "state" else ("label",),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        controllers=(
            _thermostat("fork", target_fork, gain, integral_gain),
            _thermostat("execution", target_execution, gain, integral_gain),
        ),
        stand_in=("clip_low", "clip_high"),
    )


def _thermostat(role: str, target: float, gain: float, integral_gain: float) -> Controller:
    gain, integral_gain = gain / target, integral_gain / target
    return pi(f"tilt_{role}", f"entropy/full/{role}", target=target, gain=gain, integral_gain=integral_gain)
