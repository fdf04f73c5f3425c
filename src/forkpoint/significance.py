"""Tests of differences, exact and few."""

import math
from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p of several tests: below 0.05 each may be claimed with 5 % risk of any false claim. nan stays.

    >>> holm([0.01, 0.04, 0.03])                                # 3 * 0.01; 2 * 0.03; then never less than before
    [0.03, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    adjusted, highest = list(ps), 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[i] = highest
    return adjusted


def sign_test(better: int, worse: int) -> float:
    """Two-sided p of "as many problems get better as get worse", exact; problems that stay as they are do not count.

    McNemar's exact test: the binomial of better among better + worse at one half. 1 where nothing differs.

    >>> sign_test(9, 1), sign_test(0, 0)                            # 2 (1 + 10) / 2^10
    (0.021484375, 1.0)
    """
    num, fewer = better + worse, min(better, worse)
    return min(1.0, 2 * math.fsum(math.comb(num, i) for i in range(fewer + 1)) / 2**num)
