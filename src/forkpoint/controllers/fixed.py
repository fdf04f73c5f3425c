"""No feedback: a knob that keeps its value. The control arm of a comparison."""

from forkpoint.controllers._controller import Controller, Knobs, Reading, State
from forkpoint.controllers._parts import demand

LIVELY = {"value": 0.3}


def fixed(knob: str, *, value: float) -> Controller:
    """``knob`` is ``value`` at every step; ValueError unless it is finite.

    >>> fixed("coef", value=0.3).law({}, {"step": 1.0})
    ({}, {'coef': 0.3})
    """
    demand(value=value)

    def law(state: State, reading: Reading) -> tuple[State, Knobs]:
        return state, {knob: value}

    return Controller((knob,), (), law, bounds={knob: (value, value)})
