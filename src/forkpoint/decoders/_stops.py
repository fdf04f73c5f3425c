"""When to stop, counted: the rules of ``soft_thinking``, ``entropy_stop`` and ``deep_confidence`` without their loops.

    ColdStop   ``patience`` readings in a row below ``threshold``
    StepMean   the mean of a whole step of ``window`` readings is at or below ``threshold``
    GroupMean  the mean of the last ``window`` readings is below a threshold

The first two count one thought: a reading that does not count, as none outside of thinking does, ends the row or step.
Numbers in, numbers out: each works on one request's numbers and on a batch's tensors alike, which is how one rule
drives our loop on tensors and an engine's request by request.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Number = Any
"""of one request, or a tensor (N,) of N"""


@dataclass(frozen=True)
class ColdStop:
    """Ends thinking after ``patience`` steps in a row whose entropy is below ``threshold``."""

    threshold: float
    patience: int

    def __post_init__(self) -> None:
        if self.patience < 1 or self.threshold < 0:
            raise ValueError(
                f"threshold={self.threshold}, patience={self.patience}: an entropy in nats, at least 0, "
                "and a number of steps, at least 1"
            )

    def count(self, before: Number, entropy: Number, counts: Number) -> Number:
        """How many steps in a row it has been below; where ``counts`` is false none, as another thought starts anew.

        >>> stop, count = ColdStop(0.01, 3), 0
        >>> for h in (0.3, 0.005, 0.004, 0.02, 0.001, 0.002, 0.003):
        ...     count = stop.count(count, h, True); print(count, end=" ")
        0 1 2 0 1 2 3
        """
        return counts * (before + 1) * (entropy < self.threshold)

    def over(self, count: Number) -> Number:
        return count >= self.patience


@dataclass(frozen=True)
class StepMean:
    """Ends thinking once a step of ``window`` tokens had a mean entropy at or below ``threshold``."""

    threshold: float
    window: int

    def __post_init__(self) -> None:
        if self.threshold < 0 or self.window < 1:
            raise ValueError(
                f"threshold={self.threshold}, window={self.window}: an entropy in nats, at least 0, and a number of "
                "tokens, at least 1"
            )

    def over(self, total: Number, tokens: Number) -> Number:
        """Of the step so far: whether it is whole and low. It decides before the next token is taken.

        >>> StepMean(0.5, 4).over(2.0, 4), StepMean(0.5, 4).over(1.0, 3)
        (True, False)
        """
        return (tokens >= self.window) & (total <= self.threshold * self.window)

    def count(self, total: Number, tokens: Number, entropy: Number, counts: Number) -> tuple[Number, Number]:
        """Sum and tokens of the step with one more token; a whole step makes room for the next, no thought for none."""
        goes_on = counts & (tokens < self.window)
        return total * goes_on + entropy * counts, tokens * goes_on + counts


@dataclass(frozen=True)
class GroupMean:
    """Holds the mean of the last ``window`` readings against a threshold, from the first whole group on."""

    window: int

    def recent(self, *rows: int) -> Float[Tensor, "*N W"]:
        """No readings yet, for each of the rows; without a number for one request."""
        return torch.zeros(*rows, self.window, dtype=torch.double)

    def add(self, recent: Float[Tensor, "*N W"], at: int, reading: Number) -> Float[Tensor, "*N W"]:
        recent = recent.clone()
        recent[..., at % self.window] = reading
        return recent

    def below(self, recent: Float[Tensor, "*N W"], at: int, threshold: Number) -> Bool[Tensor, "*N"]:
        """Of the group that ends at this place.

        >>> mean = GroupMean(2)
        >>> recent = mean.add(mean.add(mean.recent(), 0, 1.0), 1, 2.0)
        >>> bool(mean.below(recent, 1, 1.6)), bool(mean.below(recent, 0, 1.6))
        (True, False)
        """
        return (recent.mean(-1) < threshold) & (at + 1 >= self.window)
