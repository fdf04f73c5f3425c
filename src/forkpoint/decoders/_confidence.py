"""Confidence by the likeliest ids' mean surprise: of a token, of groups of tokens, of a path (arXiv:2508.15260).

    C_i   = -(1/k) sum of the k largest raw log-probs at place i            higher where the next token is surer
    group = mean of C over ``window`` tokens in a row; a path shorter than that is one group

Worked numbers  k = 20: uniform over 20 ids ln 20 = 2.9957; .5 and nineteen equal ones 3.4904; .98 likewise 6.5146.
Pitfall  Engines that return the drawn token beside the k likeliest make a mean of 21: 3.4904 becomes 3.8956 where its
log-prob is -12.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

Score = Literal["mean", "bottom", "lowest", "tail"]
"""of a path: the mean of all tokens, of the tenth of groups that is lowest, of the lowest group, of the last window"""
BOTTOM = 0.1
"""share of groups"""


def token_confidence(raw_logp: Float[Tensor, "N V"], k: int) -> Float[Tensor, " N"]:
    """Over min(k, V) ids; at least ln of that number."""
    return -raw_logp.topk(min(k, raw_logp.shape[-1])).values.mean(-1)


def groups(confidence: Sequence[float], window: int) -> Float[np.ndarray, " G"]:
    """Mean of every ``window`` tokens in a row.

    >>> groups([4.0, 2.0, 3.0], 2), groups([4.0, 2.0], 9)
    (array([3. , 2.5]), array([3.]))
    """
    width = min(window, len(confidence))
    return np.lib.stride_tricks.sliding_window_view(np.array(confidence, dtype=float), width).mean(-1)


def score_of(confidence: Sequence[float], window: int, score: Score) -> float:
    """A path's score; 0 without tokens.

    >>> [score_of([4.0, 2.0, 3.0, 7.0], 2, score) for score in ("mean", "bottom", "lowest", "tail")]
    [4.0, 2.5, 2.5, 5.0]
    """
    if not confidence:
        return 0.0
    if score == "mean":
        return float(np.mean(confidence))
    if score == "tail":
        return float(np.mean(confidence[-window:]))
    ordered = np.sort(groups(confidence, window))
    return float(ordered[: max(1, int(len(ordered) * BOTTOM)) if score == "bottom" else 1].mean())


def bar(scores: Sequence[float], keep: float) -> float:
    """What the surest ``keep`` percent of paths reach: the (100 - keep)th percentile, linear between two.

    >>> scores = [float(i) for i in range(5, 21)]
    >>> bar(scores, 90.0), bar(scores, 10.0)
    (6.5, 18.5)
    """
    return float(np.percentile(np.array(scores, dtype=float), 100 - keep))
