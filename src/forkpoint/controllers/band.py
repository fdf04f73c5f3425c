"""Raise, hold or lower: a knob that moves only while its reading is outside a band, and rests inside it.

    knob <- clip(knob + delta [reading < lower] - delta [reading > upper], low, high)

The dead zone is what ``bang_bang`` lacks: inside the band nothing moves, so noise smaller than the band turns nothing.
Both edges may be moved over the run.
"""

from typing import Any

from forkpoint.controllers._controller import Controller, Knobs, Reading, State
from forkpoint.controllers._edges import aims, edges
from forkpoint.controllers._parts import clamp, demand, demand_order

LIVELY = {
    **{"lower": 0.4, "upper": 0.6, "lower_end": 0.3, "upper_end": 0.5, "steps": 20.0},
    **{"delta": 0.1, "low": -1.0},
}


def band(
    knob: str,
    reading: str,
    *,
    delta: float,
    low: float = 0.0,
    high: float = 1.0,
    begin: float = 0.0,
    **where: Any,
) -> Controller:
    """``delta`` more of ``knob`` below the band, less above it, within [low, high].

    ``where`` is lower, upper, and for edges that move lower_end, upper_end, steps and shape ("linear" or "cosine").
    delta (negative for a knob that lowers the reading) finite, low <= begin <= high, lower <= upper; else ValueError.

    >>> law = band("coef", "h", lower=0.4, upper=0.6, delta=0.25).law
    >>> [law({"value": 0.5}, {"h": h, "step": 1.0})[1]["coef"] for h in (0.3, 0.5, 0.7)]
    [0.75, 0.5, 0.25]
    """
    at = edges(**where)
    demand(delta=delta, low=low, high=high)
    demand_order(low=low, high=high)
    demand(low, high, begin=begin)

    def law(state: State, seen: Reading) -> tuple[State, Knobs]:
        lower, upper = at(seen["step"])
        value = clamp(state["value"] + delta * ((seen[reading] < lower) - (seen[reading] > upper)), low, high)
        return {"value": value}, {knob: value}

    return Controller((knob,), (reading,), law, {"value": begin}, {knob: (low, high)}, aims(reading, at))
