"""No feedback: a knob that moves from one value to another over the run, on a line or on half a cosine."""

from forkpoint.controllers._controller import Controller, Knobs, Reading, State
from forkpoint.controllers._parts import Shape, demand, demand_shape, path

LIVELY = {"start": 0.3, "end": 0.1, "steps": 10.0}


def schedule(knob: str, *, start: float, end: float, steps: float, shape: Shape = "linear") -> Controller:
    """``start`` in the first step, ``end`` after ``steps`` more; all finite and steps >= 1, ValueError otherwise.

    The setting's own default should be ``start``: that is what the first step uses.

    >>> half = schedule("coef", start=0.25, end=0.75, steps=10.0)
    >>> half.law({}, {"step": 5.0}), half.law({}, {"step": 10.0}), half.law({}, {"step": 99.0})
    (({}, {'coef': 0.5}), ({}, {'coef': 0.75}), ({}, {'coef': 0.75}))
    """
    demand(start=start, end=end)
    demand(1.0, steps=steps)
    demand_shape(shape)

    def law(state: State, reading: Reading) -> tuple[State, Knobs]:
        return state, {knob: path(start, end, reading["step"], steps, shape)}

    return Controller((knob,), (), law, bounds={knob: (min(start, end), max(start, end))})
