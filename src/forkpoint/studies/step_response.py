"""How a controlled method answers: set-points reached, disturbance recovered from, and which gains are stable.

A tabular softmax policy walks from a fork (some of eight actions are good) to an execution state (one is right) under a
noisy verifier, so that advantages never vanish. The method's own ``step_loss`` is differentiated with respect to
the logits, its controllers are wired to the same readings as in a run, and nothing else is simulated.

    python -m forkpoint.studies.step_response --seeds 5

What one unit of tilt moves is measured first, by the same batch under five tilts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import Label, StepBatch
from forkpoint.controllers import Loop
from forkpoint.methods import Method, build
from forkpoint.metrics import measure
from forkpoint.roles import masks
from forkpoint.studies._finding import Finding, Spread

READINGS = ("entropy/full", "entropy/full/fork", "entropy/full/execution")
TILTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
TARGETS = {"target_fork": 1.2, "target_execution": 0.3}
STEPS, DISTURBED, SHARPENED = 500, 250, 1.25
"""steps of a run, and the step at which every logit is multiplied by 1.25"""


@dataclass
class Tabular:
    """Eight contexts, each with a fork and then an execution state, eight actions in both."""

    seed: int
    samples: int = 64
    """answers per context and step: one group"""
    rate: float = 10.0
    logits: Float[Tensor, "2 8 8"] = field(init=False)
    draw: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.draw = torch.Generator().manual_seed(self.seed)
        self.logits = 0.5 * torch.randn((2, 8, 8), generator=self.draw, dtype=torch.float64)
        self.logits[1, :, 0] += 2.5

    def sample(self) -> tuple[StepBatch, Float[Tensor, "2 8 8"]]:
        """One step of 512 answers, and the logits that its log-probs and entropies are differentiable in."""
        leaf = self.logits.clone().requires_grad_()
        logp = leaf.log_softmax(-1)[:, torch.arange(8).repeat_interleave(self.samples)].transpose(0, 1)
        action = torch.multinomial(logp.detach().exp().flatten(0, 1), 1, generator=self.draw).view(-1, 2)
        right = 0.2 + 0.3 * (action[:, 0] < 3) + 0.3 * (action[:, 1] == 0)
        reward = (torch.rand(len(right), generator=self.draw) < right).double().view(8, -1)
        advantage = (reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-4)
        chosen = logp.gather(2, action.unsqueeze(2)).squeeze(2)
        step = StepBatch(
            logp=chosen,
            logp_old=chosen.detach(),
            mask=torch.ones_like(action, dtype=torch.bool),
            advantage=advantage.flatten(),
            entropy=-(logp.exp() * logp).sum(2),
            label=torch.tensor([Label.FORK, Label.EXECUTION]).expand(len(action), 2),
            reward=reward.flatten(),
        )
        return step, leaf

    def learn(self, method: Method, step: StepBatch, leaf: Float[Tensor, "2 8 8"]) -> None:
        """One step of plain gradient descent."""
        (slope,) = torch.autograd.grad(method.step_loss(step), leaf, retain_graph=True)
        self.logits = self.logits - self.rate * slope

    def entropy(self) -> Float[Tensor, "2"]:
        """Mean entropy of the fork and of the execution states, in nats."""
        logp = self.logits.log_softmax(-1)
        return -(logp.exp() * logp).sum(-1).mean(-1)


class Response(NamedTuple):
    """Columns of a run, one value per step."""

    fork: Float[np.ndarray, " steps"]
    execution: Float[np.ndarray, " steps"]
    tilt: Float[np.ndarray, " steps"]
    """of the forks, or of all tokens; 0 for a method without one"""


def respond(method: Method, *, seed: int, steps: int = STEPS, disturbed: int = DISTURBED) -> Response:
    """Train ``steps`` steps under the method and its controllers; ``disturbed`` 0 disturbs never."""
    return _train(Tabular(seed), method, steps, disturbed)[0]


def _train(world: Tabular, method: Method, steps: int, disturbed: int) -> tuple[Response, Method]:
    """What happened, and the method as its controllers left it."""
    loop, now, rows = Loop(method.controllers), method, []
    for number in range(1, steps + 1):
        if number == disturbed:
            world.logits = SHARPENED * world.logits
        step, leaf = world.sample()
        rows.append((*world.entropy().tolist(), now.settings.get("tilt_fork", now.settings.get("tilt", 0.0))))
        world.learn(now, step, leaf)
        readings = measure(replace(step, logp=step.logp.detach()), roles=masks(step), only=READINGS)
        knobs = loop.take({key: float(one.value) for key, one in readings.items()} | {"step": float(number)})
        now = method.with_knobs(**knobs)
    return Response(*np.array(rows).T), now


def gain(*, seed: int, held: int = 200) -> tuple[float, float, float]:
    """(drift, gain, R2) of the change of fork entropy in one step as a line in the tilt, held at the set-points.

    The same ten batches under five tilts each, so that the draw does not blur the line; in nats per step, and per step
    and unit of tilt. Elsewhere the gain is another: it falls with the advantages and near certainty.
    """
    world = Tabular(seed)
    _, now = _train(world, build("fork_thermostat", **TARGETS), held, 0)
    before, batches = world.logits, [world.sample() for _ in range(10)]
    changes = []
    for tilt in TILTS:
        tilted, ends = now.with_knobs(tilt_fork=tilt), []
        for step, leaf in batches:
            world.logits = before
            world.learn(tilted, step, leaf)
            ends.append(float(world.entropy()[0]))
        world.logits = before
        changes.append(float(np.mean(ends)) - float(world.entropy()[0]))
    slope, drift = np.polyfit(TILTS, changes, 1)
    return float(drift), float(slope), 1 - float(np.var(changes - drift - slope * np.array(TILTS)) / np.var(changes))


def radius(gain: float, proportional: float, integral: float) -> float:
    """Largest modulus of the closed loop's poles, for dH = gain tilt - drift with one step of delay; stable below 1.

    z^3 - 2 z^2 + (1 + a) z + (b - a) = 0,  a = gain proportional, b = gain integral.

    >>> round(radius(1.0, 0.25, 0.01), 3), round(radius(1.0, 1.25, 0.01), 3)
    (0.951, 1.118)
    """
    a, b = gain * proportional, gain * integral
    return float(np.abs(np.roots([1.0, -2.0, 1.0 + a, b - a])).max())


def step_response(seeds: int) -> Finding:
    """No control, then the thermostat at its own gains, at ones close to the edge, and beyond it."""
    arms: dict[str, Method] = {"GRPO": build("grpo")}
    for name, factor in {"thermostat": 1.0, "gains x 4": 4.0, "gains x 40": 40.0}.items():
        arms[name] = build("fork_thermostat", gain=4.0 * factor, integral_gain=0.1 * factor, **TARGETS)
    measured = [gain(seed=seed) for seed in range(seeds)]
    table = {"measured": {
        "drift of fork entropy, nats per step": Spread.of([one[0] for one in measured]),
        "gain of the tilt, nats per step and unit": Spread.of([one[1] for one in measured]),
        "R² of the line in the tilt": Spread.of([one[2] for one in measured]),
    }}  # fmt: skip
    for name, method in arms.items():
        table[name] = _answers([respond(method, seed=seed) for seed in range(seeds)])
        if "gain" in method.settings:
            # of the forks, whose gain was measured; the method's are shares of the set-point
            gains = [float(method.settings[name]) / TARGETS["target_fork"] for name in ("gain", "integral_gain")]
            table[name]["pole radius, predicted"] = Spread.of([radius(one[1], *gains) for one in measured])
    command = f"python -m forkpoint.studies.step_response --seeds {seeds}"
    return Finding("two set-points are reached and held by one linear knob each", command, table)


def _answers(runs: Sequence[Response]) -> dict[str, Spread]:
    told: dict[str, list[float]] = {}
    for run in runs:
        held, late = slice(DISTURBED - 100, DISTURBED - 1), slice(STEPS - 50, STEPS)
        for role, curve in (("forks", run.fork), ("execution", run.execution)):
            told.setdefault(f"entropy at {role}, steps 150 to 249, nats", []).append(float(curve[held].mean()))
            told.setdefault(f"its standard deviation there, {role}", []).append(float(curve[held].std()))
            told.setdefault(f"{role}: last 50 steps, after the disturbance", []).append(float(curve[late].mean()))
        told.setdefault("tilt at forks at its largest", []).append(float(np.abs(run.tilt).max()))
    return {name: Spread.of(values) for name, values in told.items()}


if __name__ == "__main__":
    import tyro

    def main(seeds: int = 5) -> None:
        print(step_response(seeds).markdown())

    tyro.cli(main)
