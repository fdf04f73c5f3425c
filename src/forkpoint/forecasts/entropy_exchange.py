"""Reward is bought with entropy: R = b - a exp(H) (arXiv:2505.22617).

Claimed for plain policy-gradient training without entropy or KL terms, with H the mean over sequences of token means.
Over a run a and b are nearly collinear (correlation above 0.98 in practice), so each alone is poorly known; their
difference b - a, the reward at zero entropy, is what the data determine.
"""

import numpy as np

from forkpoint.forecasts._fit import Fit, History
from forkpoint.forecasts._line import Line, fit_line

LAW = Line("entropy_exchange", "R = b - a exp(H)", drop="a", intercept="b", x=np.exp)


def entropy_exchange(history: History, *, level: float = 0.95, ceiling: bool = True) -> Fit:
    """Least squares of R on exp(H); ceiling b - a, in units of reward, with its interval at ``level``.

    The interval is Student t from least squares and, from eight points on, the wider of that and a moving-block
    bootstrap of the residuals (``_interval.ceiling_interval``). Raises Refusal where the data cannot carry a ceiling.

    >>> H = np.array([1.0, 0.5, 0.2, 0.1])
    >>> fit = entropy_exchange(History(np.arange(4.0), H, 0.9 - 0.3 * np.exp(H)))
    >>> {name: round(value, 6) for name, value in fit.parameters.items()}, round(fit.ceiling, 6)
    ({'a': 0.3, 'b': 0.9}, 0.6)
    """
    return fit_line(LAW, history, level=level, ceiling=ceiling)
