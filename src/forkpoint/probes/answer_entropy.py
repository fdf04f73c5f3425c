"""Entropy of the answers to one problem (Shannon 1948, of counts): how many answers a model wavers between.

-sum_a n_a / n ln(n_a / n) over answers that are equal as text, from 0 to ln n nats; completions without an answer are a
class of their own. Of counts it is low by about (answers - 1) / 2n: compare models at one number of samples. It rises
with forced thinking where accuracy falls (arXiv:2506.04210).
"""

import math
from collections import Counter
from collections.abc import Iterable

from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Samples


def answer_entropy(samples: Samples) -> Reading:
    """In nats, with the share of completions that hold no answer. Verdicts are not looked at.

    >>> from forkpoint.probes._samples import Drawn
    >>> one = Drawn("p", "", ("",) * 4, ("7", "7", "8", None), ("none",) * 4, (0.0,) * 4, (1,) * 4)
    >>> [round(found.value, 6) for found in answer_entropy(Samples((one,))).values.values()]
    [1.039721, 0.25]
    """
    columns = {
        "answer_entropy": samples.each(lambda one: of_counts(Counter(one.answers).values())),
        "no_answer": samples.each(lambda one: one.answers.count(None) / len(one.answers)),
    }
    return reading(columns, {"answer_entropy": "nats", "no_answer": "share"})


def of_counts(counts: Iterable[int]) -> float:
    """Plug-in entropy of counts, in nats.

    >>> round(of_counts([2, 1, 1]), 6)                          # 1/2 ln 2 + 2 (1/4 ln 4)
    1.039721
    """
    counts = list(counts)
    return math.fsum(count / sum(counts) * math.log(sum(counts) / count) for count in counts)
