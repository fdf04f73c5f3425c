"""A band around a reading whose two edges may move."""

from collections.abc import Callable

from forkpoint.controllers._controller import Knobs, State
from forkpoint.controllers._parts import Shape, demand, demand_order, demand_shape, path

Edges = Callable[[float], tuple[float, float]]
"""step -> (lower edge, upper edge)"""


def edges(
    *,
    lower: float,
    upper: float,
    lower_end: float | None = None,
    upper_end: float | None = None,
    steps: float = 1.0,
    shape: Shape = "linear",
) -> Edges:
    """Edges that move to their ends over ``steps``, or stay where no end is given.

    Raises ValueError unless all are finite, lower <= upper at both ends (and so in between), and steps >= 1.

    >>> edges(lower=0.6, upper=0.7, lower_end=0.4, upper_end=0.5, steps=10.0)(10.0)
    (0.4, 0.5)
    """
    ends = (lower if lower_end is None else lower_end, upper if upper_end is None else upper_end)
    demand(lower=lower, upper=upper, lower_end=ends[0], upper_end=ends[1])
    demand(1.0, steps=steps)
    demand_order(lower=lower, upper=upper)
    demand_order(lower_end=ends[0], upper_end=ends[1])
    demand_shape(shape)
    return lambda step: (path(lower, ends[0], step, steps, shape), path(upper, ends[1], step, steps, shape))


def aims(reading: str, at: Edges) -> Callable[[State, float], Knobs]:
    """What a report draws: both edges of the reading."""

    def aim(state: State, step: float) -> Knobs:
        low, high = at(step)
        return {f"lower/{reading}": low, f"upper/{reading}": high}

    return aim
