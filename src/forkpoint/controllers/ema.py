"""An exponential moving average of a reading, as a setting: what is usual, for methods that reward the unusual.

    m_1 = x_1,    m_t = (1 - rate) m_(t-1) + rate x_t

The first reading is taken whole: an average that began at 0 would be far off for about 1 / rate steps.
"""

from forkpoint.controllers._controller import Controller, Knobs, Reading, State


def ema(knob: str, reading: str, *, rate: float = 0.3) -> Controller:
    """Keep ``knob`` at the moving average of the column ``reading``; rate in (0, 1], ValueError otherwise.

    >>> law = ema("mid", "rank/effective", rate=0.5).law
    >>> state, knobs = law({}, {"rank/effective": 10.0})
    >>> knobs, law(state, {"rank/effective": 20.0})[1]
    ({'mid': 10.0}, {'mid': 15.0})
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate={rate}: it is the weight of the newest reading, above 0 and at most 1")

    def law(state: State, seen: Reading) -> tuple[State, Knobs]:
        newest = float(seen[reading])
        mean = (1 - rate) * state["mean"] + rate * newest if "mean" in state else newest
        return {"mean": mean}, {knob: mean}

    return Controller((knob,), (reading,), law, rests=False)
