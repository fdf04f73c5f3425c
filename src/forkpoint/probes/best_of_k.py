"""best@k: how often the completion that a scorer likes best of k is right (best-of-n sampling).

Exact, not resampled: sorted by score, the completion of rank r (from 0) is the best of k drawn without replacement from
n with chance C(n - 1 - r, k - 1) / C(n, k); completions of equal score share their chances. A share from 0 to 1. A
scorer that knows nothing gives accuracy at every k, a perfect one pass@k.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from forkpoint import catalog
from forkpoint.probes._few import left_out, sizes
from forkpoint.probes._plugged import plugged
from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Drawn, Samples

Scorer = Callable[[str, str], float]


def best_of_k(samples: Samples, *, ks: Sequence[int] | None = None, scorer: str | Scorer = "") -> Reading:
    """best@k by ``scorer(prompt, text) -> number``, or by log-prob per token where there is none.

    Only completions with a verdict are drawn from, and problems left out as in ``pass_at_k``. Raises ValueError for a
    scorer that is missing, raises or returns no number, and for a k that no problem has enough judged completions for.

    >>> verdicts, logp = ("correct", "wrong", "wrong"), (-1.0, -2.0, -3.0)
    >>> one = Drawn("p", "", ("",) * 3, (None,) * 3, verdicts, logp, (1,) * 3)
    >>> [round(found.value, 4) for found in best_of_k(Samples((one,)), ks=(1, 2, 3)).values.values()]
    [0.3333, 0.6667, 1.0]

    The right one has the best log-prob; two of the three pairs hold it.
    """
    asked = sizes(samples, ks, "best_of_k")
    judge = plugged("scorer", scorer) if scorer else None
    found = [right_by_size(*_ranked(one, judge)) for one in samples.problems]
    columns = {f"best@{k}": np.array([one[k] if k < len(one) else math.nan for one in found]) for k in asked}
    by = "by log-prob per token" if judge is None else f"by {getattr(judge, '__name__', 'a scorer')}"
    return reading(columns, "share", "; ".join(filter(None, [by, left_out(samples, max(asked))])))


def right_by_size(scores: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance that the best of k is right, for k = 0 ... all (0 of none)."""
    size = len(scores)
    # equal scores share: each has the mean of those that tie with it
    shared = np.array([right[scores == score].mean() for score in scores])[np.argsort(-scores, kind="stable")]
    chances = np.zeros(size + 1)
    for k in range(1, size + 1):
        ways = [math.comb(size - 1 - rank, k - 1) / math.comb(size, k) for rank in range(size)]
        chances[k] = math.fsum(way * value for way, value in zip(ways, shared, strict=True))
    return chances


def _ranked(one: Drawn, judge: Scorer | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores = [_score(one, i, judge) for i in one.judged]
    return np.array(scores), np.array([float(one.verdicts[i] == "correct") for i in one.judged])


def _score(one: Drawn, i: int, judge: Scorer | None) -> float:
    if judge is None:
        return one.logp[i] / max(1, one.lengths[i])
    found = catalog.call("scorer", judge, one.prompt, one.texts[i], about=f"problem {one.id!r}")
    try:
        score = float(found)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        what = f"returned {found!r:.60} for problem {one.id!r}"
        raise ValueError(f"scorer: {what}; return a finite number, higher for better")
    return score
