"""A fixed step up or down at every reading: the adaptive entropy coefficient of Skywork-OR1 (arXiv:2505.22312).

    c <- clip(c + delta [e < target] - delta [e > target], low, high)
    knob = c where e <= target, else 0          (gate; without it, knob = c)

A reading sets the knob of the next step. With the gate, the knob is off whenever the last reading was above the target,
and comes back where it stood. Without it this is a sign-integral law, with two sides where low < 0.

A step that always has the same size cannot settle: around the target the knob moves up and down by ``delta``, and by
its whole value where the gate acts. ``pi`` settles.
"""

from forkpoint.controllers._controller import Controller, Knobs, Reading, State
from forkpoint.controllers._parts import clamp, demand, demand_order

LIVELY = {"target": 0.5, "delta": 0.1, "low": -1.0}


def bang_bang(
    knob: str,
    reading: str,
    *,
    target: float,
    delta: float,
    low: float = 0.0,
    high: float = 1.0,
    begin: float = 0.0,
    gate: bool = True,
) -> Controller:
    """``delta`` more of ``knob`` where ``reading`` is below ``target``, less where it is above, within [low, high].

    target, delta (negative for a knob that lowers the reading), low <= begin <= high: finite, ValueError otherwise.
    The gate's 0 counts among the knob's bounds.

    >>> law, state, used = bang_bang("coef", "h", target=0.2, delta=0.25).law, {"value": 0.5}, []
    >>> for h in (0.1, 0.3, 0.2):
    ...     state, knobs = law(state, {"h": h})
    ...     used.append(knobs["coef"])
    >>> used, state                                # up to 0.75; down to 0.5 and gated; 0.2 is not above: 0.5 is back
    ([0.75, 0.0, 0.5], {'value': 0.5})
    """
    demand(target=target, delta=delta, low=low, high=high)
    demand_order(low=low, high=high)
    demand(low, high, begin=begin)

    def law(state: State, seen: Reading) -> tuple[State, Knobs]:
        error = target - seen[reading]
        value = clamp(state["value"] + delta * ((error > 0) - (error < 0)), low, high)
        return {"value": value}, {knob: 0.0 if gate and error < 0 else value}

    bounds = (min(low, 0.0), max(high, 0.0)) if gate else (low, high)
    return Controller(
        *((knob,), (reading,), law, {"value": begin}), {knob: bounds}, lambda state, step: {f"target/{reading}": target}
    )
