"""What a controller is, and the loop that several of them make around a training run."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

State = dict[str, Any]
"""what a controller remembers: JSON, with finite numbers"""
Reading = Mapping[str, float]
"""one optimizer step by column of the record, and ``step``, its number from 1"""
Knobs = dict[str, float]
"""settings of a method -> their values for the next step"""


@dataclass(frozen=True)
class Controller:
    """A feedback law and what it is wired to.

    >>> def halve(state, reading):
    ...     return state, {"coef": reading["entropy/full"] / 2}
    >>> loop = Loop([Controller(("coef",), ("entropy/full",), halve)])
    >>> loop.take({"step": 1.0, "entropy/full": 0.5}), loop.take({"step": 2.0, "entropy/full": float("nan")})
    ({'coef': 0.25}, {'coef': 0.25})
    """

    knobs: tuple[str, ...]
    """the settings of a method that it turns"""
    reads: tuple[str, ...]
    """the readings without which it cannot go on; a step where one is missing or not finite changes nothing"""
    law: Callable[[State, Reading], tuple[State, Knobs]]
    """(state, reading) -> (new state, knobs of the next step). Pure: the same bits from the same bits"""
    begin: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """the state before the first reading"""
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    """knob -> (lowest, highest value that the law gives it); a knob without an entry is unbounded"""
    aim: Callable[[State, float], Mapping[str, float]] = lambda state, step: {}
    """(state, step) -> what the law then compares its readings with: ``target/READING``, or the edges of a band as
    ``lower/READING`` and ``upper/READING``"""
    rests: bool = True
    """whether it may rightly leave its method off, for as long as the reading is where it should be"""


class Loop:
    """The controllers of one method at work. ``knobs`` holds what the next step shall use; empty before a reading."""

    def __init__(self, controllers: Sequence[Controller]) -> None:
        turned = [knob for controller in controllers for knob in controller.knobs]
        twice = sorted({knob for knob in turned if turned.count(knob) > 1})
        if twice:
            raise ValueError(f"two controllers turn {twice[0]!r}; leave it to one of them")
        self.controllers = tuple(controllers)
        self.reset()

    def reset(self) -> None:
        """Back to before the first reading."""
        self._states: list[State] = [dict(controller.begin) for controller in self.controllers]
        self.knobs: Knobs = {}
        self.held = 0
        """how many readings in a row some controller could not use"""

    @property
    def reads(self) -> tuple[str, ...]:
        """Every column that some controller needs."""
        return tuple(dict.fromkeys(key for controller in self.controllers for key in controller.reads))

    @property
    def turned(self) -> tuple[str, ...]:
        """Every knob that some controller turns."""
        return tuple(knob for controller in self.controllers for knob in controller.knobs)

    def aims(self, step: float) -> dict[str, float]:
        """What the readings of this step are compared with: set-points and the edges of bands, by name."""
        found: dict[str, float] = {}
        for controller, state in zip(self.controllers, self._states, strict=True):
            found |= controller.aim(state, step)
        return found

    def take(self, reading: Reading) -> Knobs:
        """Advance by one step's readings, and return the knobs of the next step."""
        held = False
        for i, controller in enumerate(self.controllers):
            if all(math.isfinite(reading.get(key, math.nan)) for key in controller.reads):
                self._states[i], knobs = controller.law(self._states[i], reading)
                self.knobs |= knobs
            else:
                held = True
        self.held = self.held + 1 if held else 0
        return dict(self.knobs)

    def state(self) -> State:
        """Everything a resumed run needs, as JSON."""
        return {"turned": list(self.turned), "states": self._states, "knobs": self.knobs, "held": self.held}

    def restore(self, state: State) -> None:
        """Undo ``state``. Raises ValueError where it is that of other controllers."""
        if state["turned"] != list(self.turned):
            saved, here = (", ".join(knobs) or "nothing" for knobs in (state["turned"], self.turned))
            raise ValueError(
                f"the saved controllers turn {saved}, this method's {here}; resume with the method that saved it"
            )
        copied = json.loads(json.dumps(state))
        self._states, self.knobs, self.held = copied["states"], copied["knobs"], copied["held"]
