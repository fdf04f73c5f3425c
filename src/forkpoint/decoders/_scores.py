"""How good a completion looks to a scorer, and what its vote weighs by that."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from forkpoint.decoders._decoder import Trace

Final = Literal["best", "vote", "weighted"]
Scorer = Callable[[str, Sequence[float]], Any]
"""(text, raw log-probs of its tokens) -> a number, larger for better"""


def judged(scorer: Scorer, text: str, logps: Sequence[float]) -> float:
    """Raises ValueError where the scorer gives no finite number.

    >>> judged(mean_logp, "a b", [-1.0, -2.0])
    -1.5
    """
    found = scorer(text, logps)
    try:
        score = float(found)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise ValueError(f"scorer gave {found!r:.60} for a completion; it must give a finite number")
    return score


def mean_logp(text: str, logps: Sequence[float]) -> float:
    """The mean of the log-probs; the text is not looked at."""
    return sum(logps) / len(logps)


def weights(traces: Sequence[Trace], scores: Sequence[float], final: Final) -> list[float]:
    """Of votes: all 1; exp(score) over the largest; or 1 for the best alone, rows with an answer and an end first.

    >>> from dataclasses import replace
    >>> one = Trace((), "", "1", "end")
    >>> weights([one, replace(one, finish="limit")], [math.log(0.2), math.log(0.4)], "weighted")
    [0.5, 1.0]
    >>> weights([one, replace(one, finish="limit")], [math.log(0.2), math.log(0.4)], "best")
    [1.0, 0.0]
    """
    if final == "vote" or not traces:
        return [1.0] * len(traces)
    if final == "weighted":
        return [math.exp(score - max(scores)) for score in scores]
    order = [
        (trace.answer is not None, trace.finish == "end", score) for trace, score in zip(traces, scores, strict=True)
    ]
    best = order.index(max(order))
    return [float(i == best) for i in range(len(traces))]
