"""Proportional-integral control of one reading by one knob, with a clamp and no windup.

    e = target(step) - reading
    knob = clip(gain e + I, low, high),    then    I <- clip(I + integral_gain e', low, high)

e' is e, at most what turns the knob through its whole range: (high - low) / gain. I stays within the bounds, so that a
knob that was held at one for long leaves it at the first reading past the set-point. Gains are positive for a knob that
raises the reading, negative for one that lowers it; both have the same sign, or the integral would fight the
proportional part.

Which gains are stable is a matter of how far one unit of the knob moves the reading in a step: see
``docs/design/008-control-of-entropy.md``.
"""

from forkpoint.controllers._controller import Controller, Knobs, Reading, State
from forkpoint.controllers._parts import (
    Shape,
    clamp,
    demand,
    demand_order,
    demand_shape,
    path,
    proportional_integral,
)

LIVELY = {"target": 0.5, "end": 0.4, "steps": 20.0, "gain": 2.0, "integral_gain": 0.1}


def pi(
    knob: str,
    reading: str,
    *,
    target: float,
    gain: float,
    integral_gain: float = 0.0,
    low: float = -1.0,
    high: float = 1.0,
    end: float | None = None,
    steps: float = 1.0,
    shape: Shape = "linear",
) -> Controller:
    """Hold ``reading`` at ``target``, which moves to ``end`` over ``steps`` where that is given.

    All finite, low <= high, steps >= 1, gains of one sign; ValueError otherwise.

    >>> law, state = pi("tilt", "h", target=0.5, gain=1.0, integral_gain=0.25).law, {"integral": 0.0}
    >>> law(state, {"h": 0.25}), law(state, {"h": 9.0})     # 0.25, and 0.0625 kept; -8.5 clamped, of -2 a quarter kept
    (({'integral': 0.0625}, {'tilt': 0.25}), ({'integral': -0.5}, {'tilt': -1.0}))
    """
    final = target if end is None else end
    demand(target=target, end=final, gain=gain, integral_gain=integral_gain, low=low, high=high)
    demand_order(low=low, high=high)
    demand(1.0, steps=steps)
    demand_shape(shape)
    if gain * integral_gain < 0:
        raise ValueError(f"gain={gain} and integral_gain={integral_gain} work against each other; give both one sign")
    gains = {"gain": gain, "integral_gain": integral_gain, "low": low, "high": high}

    def law(state: State, seen: Reading) -> tuple[State, Knobs]:
        goal = target if end is None else path(target, final, seen["step"], steps, shape)
        value, integral = proportional_integral(state["integral"], goal - seen[reading], **gains)
        return {"integral": integral}, {knob: value}

    def aim(state: State, step: float) -> Knobs:
        return {f"target/{reading}": path(target, final, step, steps, shape)}

    return Controller((knob,), (reading,), law, {"integral": clamp(0.0, low, high)}, {knob: (low, high)}, aim)
