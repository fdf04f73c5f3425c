"""Spend entropy by plan: a set-point that leads from what a run starts with to what it shall end with.

    H0 = mean of the first ``warmup`` readings
    linear         target(t) = H0 + (end - H0) t                            t from 0 after the warm-up to 1 at ``steps``
    equal_reward   e^target(t) = e^H0 + (e^end - e^H0) t

then as ``pi``. Where R = b - a e^H holds (arXiv:2505.22617), "equal_reward" plans the same gain in reward for every
step; a run left alone spends most of its entropy, and makes most of its gain, early. The law is stated for training
without a hand on entropy, so it is a plan here and not a promise.
"""

import math
from typing import Literal

from forkpoint.controllers._controller import Controller, Knobs, Reading, State
from forkpoint.controllers._parts import clamp, demand, demand_order, path, proportional_integral

Plan = Literal["linear", "equal_reward"]
LIVELY = {"end": 0.1, "steps": 20.0, "warmup": 2.0, "gain": 2.0, "integral_gain": 0.1}


def budget(
    knob: str,
    reading: str,
    *,
    end: float,
    steps: float,
    gain: float,
    integral_gain: float = 0.0,
    shape: Plan = "equal_reward",
    warmup: float = 5.0,
    low: float = -1.0,
    high: float = 1.0,
) -> Controller:
    """Lead ``reading`` to ``end`` at step ``steps``, and hold it there; ``knob`` is 0 until H0 is known.

    end and gains finite, steps and warmup >= 1, low <= 0 <= high, gains of one sign; ValueError otherwise.

    >>> plan = budget("tilt", "h", end=0.0, steps=11.0, gain=1.0, shape="linear", warmup=1.0)
    >>> state, knobs = plan.law(dict(plan.begin), {"h": 0.5, "step": 1.0})
    >>> knobs, plan.aim(state, 6.0)                           # half of the ten steps later half of 0.5 is left
    ({'tilt': 0.0}, {'target/h': 0.25})
    """
    demand(end=end, gain=gain, integral_gain=integral_gain)
    demand(1.0, steps=steps, warmup=warmup)
    demand(-math.inf, 0.0, low=low)
    demand(0.0, high=high)
    demand_order(low=low, high=high)
    if shape not in ("linear", "equal_reward"):
        raise ValueError(f"shape={shape!r}: choose 'linear' or 'equal_reward'")
    if gain * integral_gain < 0:
        raise ValueError(f"gain={gain} and integral_gain={integral_gain} work against each other; give both one sign")
    gains = {"gain": gain, "integral_gain": integral_gain, "low": low, "high": high}

    def target(state: State, step: float) -> float:
        left = max(steps - state["began"], 1.0)
        if shape == "linear":
            return path(state["start"], end, step - state["began"], left)
        return log_path(state["start"], end, clamp((step - state["began"]) / left, 0.0, 1.0))

    def law(state: State, seen: Reading) -> tuple[State, Knobs]:
        if state["seen"] < warmup:
            num = state["seen"] + 1
            start = state["start"] * (state["seen"] / num) + seen[reading] / num
            return {"seen": num, "start": start, "began": seen["step"], "integral": 0.0}, {knob: 0.0}
        error = target(state, seen["step"]) - seen[reading]
        value, integral = proportional_integral(state["integral"], error, **gains)
        return state | {"integral": integral}, {knob: value}

    def aim(state: State, step: float) -> Knobs:
        return {f"target/{reading}": target(state, step)} if state["seen"] >= warmup else {}

    begin = {"seen": 0, "start": 0.0, "began": 0.0, "integral": 0.0}
    return Controller((knob,), (reading,), law, begin, {knob: (low, high)}, aim)


def log_path(start: float, end: float, part: float) -> float:
    """log(e^start (1 - part) + e^end part), without overflow.

    >>> round(log_path(math.log(3.0), 0.0, 0.5), 12) == round(math.log(2.0), 12), log_path(800.0, 0.0, 0.0)
    (True, 800.0)
    """
    if part in (0.0, 1.0):
        return end if part else start
    top = max(start, end)
    return top + math.log((1 - part) * math.exp(start - top) + part * math.exp(end - top))
