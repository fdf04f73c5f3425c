"""Lowest and highest reward of the step (a definition): a mean hides the one that is far out.

A verifier that returns 7 where 1 was meant moves the whole group's advantages, and the mean looks like a good step.
"""

from typing import NamedTuple

from forkpoint.batch import Definition, StepBatch
from forkpoint.metrics._masked import filled

ABOUT = Definition(
    key="guard/reward_low",
    estimator="weighted sum of the trainer's reward functions; completions without a reward are left out",
    reduction="lowest or highest of the step's completions, as the key says",
    unit="reward",
    reads=("reward",),
    token_set="whole completions",
)

COLUMNS = {"guard/reward_low": {"sign": -1.0}, "guard/reward_high": {"sign": 1.0}}


class Extreme(NamedTuple):
    """The largest of sign x value; nan where there was none.

    >>> (Extreme(-1.0, 0.5) + Extreme(-1.0, 0.2)).value
    0.2
    """

    sign: float
    found: float

    def __add__(self, other: "Extreme") -> "Extreme":  # type: ignore[override]  # a tuple's + would concatenate
        if self.sign != other.sign:
            raise ValueError("cannot merge a lowest with a highest value: merge readings of the same end")
        return max((e for e in (self, other) if e.found == e.found), key=lambda e: e.sign * e.found, default=self)

    @property
    def value(self) -> float:
        return self.found


def reward_range(step: StepBatch, sign: float = 1.0) -> Extreme:
    """max R for sign 1, min R for sign -1, over the completions that have a reward; nan where none has.

    >>> import torch
    >>> step = StepBatch(torch.zeros(3, 1), torch.zeros(3, 1), torch.ones(3, 1, dtype=torch.bool), torch.zeros(3),
    ...                  reward=torch.tensor([0.0, 7.0, torch.nan]))
    >>> reward_range(step).value, reward_range(step, sign=-1.0).value
    (7.0, 0.0)
    """
    reward = filled(step, "reward")
    scored = sign * reward[~reward.isnan()].double()
    return Extreme(sign, sign * float(scored.max()) if len(scored) else float("nan"))
