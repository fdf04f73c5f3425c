"""What a run's evaluations say about where it ends: laws fitted to its history, with a ceiling and its interval.

A file ``NAME.py`` defines ``NAME(history, *, level=0.95, ceiling=True) -> Fit``. The law of entropy exchange is one
of them; the others are the baselines it has to beat, since any two monotone series fit some curve.
"""

from forkpoint.forecasts._compare import Backtest, Tested, backtest, compare, forecast, history_of
from forkpoint.forecasts._fit import Fit, History, Interval, Refusal

__all__ = [
    "Backtest",
    "Fit",
    "History",
    "Interval",
    "Refusal",
    "Tested",
    "backtest",
    "compare",
    "forecast",
    "history_of",
]
