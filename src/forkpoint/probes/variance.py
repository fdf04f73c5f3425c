"""Variance of correctness, split into within and between problems (the law of total variance).

With c of n judged completions of a problem right and p = c / n, without bias for each problem:

    within     mean of p (1 - p) n / (n - 1)                    the same problem, answered again
    between    mean of c (c - 1) / (n (n - 1)), less (mean p)^2      one problem against another
    total      their sum, mean p (1 - mean p)

Within and total are never below 0; between, being unbiased, may be, by chance, where problems are alike. A policy that
is sure of itself, right or wrong, has all of it between.
"""

import math

from forkpoint.probes._few import left_out
from forkpoint.probes._reading import Reading, over_problems, per_problem
from forkpoint.probes._samples import Drawn, Samples


def variance(samples: Samples) -> Reading:
    """The three, over problems with two or more verdicts; the others are left out and counted in the note.

    >>> right, wrong = ("correct", "correct"), ("wrong", "wrong")
    >>> pair = [Drawn("p", "", ("", ""), (None, None), verdicts, (0.0,) * 2, (1, 1)) for verdicts in (right, wrong)]
    >>> {name: found.value for name, found in variance(Samples(tuple(pair))).values.items()}
    {'variance/within': 0.0, 'variance/between': 0.25, 'variance/total': 0.25}
    """
    share = samples.each(lambda one: one.num_correct / len(one.judged) if len(one.judged) > 1 else math.nan)
    pairs = samples.each(_pairs)
    values = {
        "variance/within": over_problems(share - pairs, unit="share squared"),
        "variance/between": over_problems(
            pairs, share, unit="share squared", combine=lambda mean: mean[0] - mean[1] ** 2
        ),
        "variance/total": over_problems(share, unit="share squared", combine=lambda mean: mean[0] * (1 - mean[0])),
    }
    return Reading(values, per_problem({"variance/within": share - pairs}), left_out(samples, 2))


def _pairs(one: Drawn) -> float:
    """The share of pairs of completions that are both right: an unbiased estimate of the squared chance."""
    n, c = len(one.judged), one.num_correct
    return c * (c - 1) / (n * (n - 1)) if n > 1 else math.nan
