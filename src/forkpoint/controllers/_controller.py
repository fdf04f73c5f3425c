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
    >>> loop.take({"step": 1, "entropy/full": 0.5}), loop.take({"step": 2, "entropy/full": float("nan")})
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


class Loop:
    """The controllers of one method at work. ``knobs`` holds what the next step shall use; empty before a reading."""

    def __init__(self, controllers: Sequence[Controller]) -> None:
        turned = [knob for controller in controllers for knob in controller.knobs]
        twice = sorted({knob for knob in turned if turned.count(knob) > 1})
        if twice:
            raise ValueError(f"two controllers turn {twice[0]!r}; leave it to one of them")
        self.controllers = tuple(controllers)
        self._states: list[State] = [dict(controller.begin) for controller in controllers]
        self.knobs: Knobs = {}
        self.held = 0
        """how many readings in a row some controller could not use"""

    @property
    def reads(self) -> tuple[str, ...]:
        """Every column that some controller needs."""
        return tuple(dict.fromkeys(key for controller in self.controllers for key in controller.reads))

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
        return {"states": self._states, "knobs": self.knobs, "held": self.held}

    def restore(self, state: State) -> None:
        """Undo ``state``. Raises ValueError where it is that of other controllers."""
        if len(state["states"]) != len(self.controllers):
            raise ValueError(
                f"the state holds {len(state['states'])} controllers and this method has {len(self.controllers)}; "
                "resume with the method that saved it"
            )
        copied = json.loads(json.dumps(state))
        self._states, self.knobs, self.held = copied["states"], copied["knobs"], copied["held"]
