"""Small steps that controllers share. Pure, in plain floats, finite for every finite reading."""

import math
import sys
from typing import Literal

Shape = Literal["linear", "cosine"]
"""how a set-point or an edge moves from its start to its end"""


def clamp(value: float, low: float, high: float) -> float:
    """``value``, or the bound it lies beyond."""
    return min(max(value, low), high)


def path(start: float, end: float, step: float, steps: float, shape: Shape = "linear") -> float:
    """``start`` at step 0, ``end`` from step ``steps`` on, and in between a line or half a cosine.

    >>> path(0.6, 0.4, 500.0, 1e3), round(path(0.6, 0.4, 250.0, 1e3, "cosine"), 6)    # 0.5 + 0.1 cos(pi / 4)
    (0.5, 0.570711)
    """
    part = clamp(step / steps, 0.0, 1.0)
    if shape == "cosine":
        part = (1 - math.cos(math.pi * part)) / 2
    # not start + (end - start) * part, whose difference may overflow
    return start * (1 - part) + end * part


def proportional_integral(
    integral: float, error: float, *, gain: float, integral_gain: float, low: float, high: float
) -> tuple[float, float]:
    """(knob, new integral): gain e + the integral of earlier errors, clamped to [low, high].

    The integral takes e in after the knob was read off. It stays within the bounds too, so that a knob held at one for
    long leaves it at the first reading past the set-point. It goes on while the knob is there: noise puts it there by
    turns, and errors left out then would bias the mean. An error beyond what turns the knob through its whole range
    counts as that, so that one odd reading does not fill it.

    >>> proportional_integral(0.5, -1.0, gain=1.0, integral_gain=0.25, low=-1.0, high=1.0)     # -1 + 0.5; 0.5 - 0.25
    (-0.5, 0.25)
    """
    error = clamp(error, -sys.float_info.max, sys.float_info.max)
    most = (high - low) / abs(gain) if gain else math.inf
    push = integral_gain * clamp(error, -most, most)
    return clamp(gain * error + integral, low, high), clamp(integral + push, low, high)


def demand(at_least: float = -math.inf, at_most: float = math.inf, **settings: float) -> None:
    """ValueError, naming the setting, unless each is finite and within the bounds.

    >>> demand(0.0, 1.0, share=2.0)
    Traceback (most recent call last):
    ValueError: share=2.0: it must be 0 or more and 1 or less
    """
    for name, value in settings.items():
        if not (math.isfinite(value) and at_least <= value <= at_most):
            bounds = [f"{at_least:g} or more"] * (at_least > -math.inf) + [f"{at_most:g} or less"] * (
                at_most < math.inf
            )
            raise ValueError(f"{name}={value}: it must be {' and '.join(bounds) or 'finite'}")


def demand_shape(shape: str) -> None:
    """ValueError unless ``shape`` is one of ``Shape``."""
    if shape not in ("linear", "cosine"):
        raise ValueError(f"shape={shape!r}: choose 'linear' or 'cosine'")


def demand_order(**bounds: float) -> None:
    """ValueError unless the first bound is at most the second."""
    (low_name, low), (high_name, high) = bounds.items()
    if not low <= high:
        raise ValueError(f"{low_name}={low} is above {high_name}={high}; exchange them")
