"""Baseline: reward falls in a straight line with entropy, R = c - d H (definition; the plainest rival of the law).

Below about half a nat exp(H) is nearly a line, and this fits nearly as well: only a wider range tells them apart.
"""

import numpy as np

from forkpoint.forecasts._fit import Fit, History, Values
from forkpoint.forecasts._line import Line, fit_line


def _same(entropy: Values) -> Values:
    return np.asarray(entropy, dtype=np.float64)


LAW = Line("linear_entropy", "R = c - d H", drop="d", intercept="c", x=_same)


def linear_entropy(history: History, *, level: float = 0.95, ceiling: bool = True) -> Fit:
    """Least squares of R on H; ceiling c, the reward at zero entropy. Intervals and refusals as in the law.

    >>> H = np.array([0.8, 0.6, 0.4, 0.2])
    >>> fit = linear_entropy(History(np.arange(4.0), H, 0.7 - 0.5 * H))
    >>> {name: round(value, 6) for name, value in fit.parameters.items()}, round(fit.ceiling, 6)
    ({'d': 0.5, 'c': 0.7}, 0.7)
    """
    return fit_line(LAW, history, level=level, ceiling=ceiling)
