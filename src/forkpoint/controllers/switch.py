"""Three values of a knob: one for a reading below a band, one inside it, one above it.

Remembers nothing. A reading that hovers at an edge throws the knob from one value to the other, step by step; ``band``
and ``pi`` move gradually.
"""

from typing import Any

from forkpoint.controllers._controller import Controller, Knobs, Reading, State
from forkpoint.controllers._edges import aims, edges
from forkpoint.controllers._parts import demand

LIVELY = {
    **{"lower": 0.4, "upper": 0.6, "lower_end": 0.3, "upper_end": 0.5, "steps": 20.0},
    **{"below": -1.0, "inside": 0.0, "above": 1.0},
}


def switch(knob: str, reading: str, *, below: float, inside: float, above: float, **where: Any) -> Controller:
    """``below`` where reading < lower, ``above`` where reading > upper, else ``inside``; all finite, else ValueError.

    ``where`` is lower, upper, and for edges that move lower_end, upper_end, steps and shape ("linear" or "cosine").

    >>> law = switch("sign", "h", lower=0.4, upper=0.6, below=-1.0, inside=0.0, above=1.0).law
    >>> [law({}, {"h": h, "step": 1.0})[1]["sign"] for h in (0.3, 0.4, 0.7)]
    [-1.0, 0.0, 1.0]
    """
    at = edges(**where)
    demand(below=below, inside=inside, above=above)

    def law(state: State, seen: Reading) -> tuple[State, Knobs]:
        lower, upper = at(seen["step"])
        return state, {knob: below if seen[reading] < lower else above if seen[reading] > upper else inside}

    values = (below, inside, above)
    return Controller((knob,), (reading,), law, bounds={knob: (min(values), max(values))}, aim=aims(reading, at))
