"""distinct-n: the share of n-grams that are different ones, n = 1 ... 4 (Li et al. 2016).

Over all completions of a problem together: distinct n-grams / n-grams, in (0, 1]; low where a model repeats itself. An
n-gram lies inside one completion. Of tokens where the samples hold them, else of words between spaces.
"""

import math
from collections.abc import Hashable, Iterator, Sequence

from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Drawn, Samples

SIZES = (1, 2, 3, 4)


def distinct_n(samples: Samples) -> Reading:
    """A problem whose completions are all shorter than n is left out. Falls with more samples: compare at one number.

    >>> one = Drawn("p", "", ("a b", "a c"), (None, None), ("none",) * 2, (0.0,) * 2, (2,) * 2)
    >>> [found.value for found in distinct_n(Samples((one,))).values.values()][:2]         # a, b, c of 4; ab, ac of 2
    [0.75, 1.0]
    """
    columns = {f"distinct_{n}": samples.each(lambda one, n=n: share(sequences(one), n)) for n in SIZES}
    words = any(one.tokens is None for one in samples.problems)
    return reading(columns, "share", "n-grams of words" if words else "n-grams of tokens")


def share(rows: Sequence[Sequence[Hashable]], n: int) -> float:
    """Distinct n-grams of the rows over all of them; nan where there is none."""
    found = [gram for row in rows for gram in grams(row, n)]
    return len(set(found)) / len(found) if found else math.nan


def grams(row: Sequence[Hashable], n: int) -> Iterator[tuple[Hashable, ...]]:
    """Every run of n, in order.

    >>> list(grams("abc", 2))
    [('a', 'b'), ('b', 'c')]
    """
    return (tuple(row[i : i + n]) for i in range(len(row) - n + 1))


def sequences(one: Drawn) -> Sequence[Sequence[Hashable]]:
    """The completions as tokens, or as words where no tokens are there."""
    return one.tokens if one.tokens is not None else [text.split() for text in one.texts]
