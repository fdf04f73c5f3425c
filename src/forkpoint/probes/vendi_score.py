"""Vendi score: the effective number of different completions of a problem (arXiv:2210.02410).

Of the eigenvalues l of K / n, K their n x n similarity with ones on its diagonal, by order q (Pasarkar and Dieng 2023):

    q = 1      exp(-sum l ln l)
    q = 2      1 / sum l^2
    q = inf    1 / max l

from 1 (all alike) to n (none alike); a higher q counts what is common and forgets what is rare.
"""

import math
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from forkpoint import catalog
from forkpoint.probes._plugged import plugged
from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Drawn, Samples
from forkpoint.probes.distinct_n import grams, sequences

Kernel = Callable[[str, str], float]
ORDERS = (1.0, 2.0, math.inf)
ROUNDING = 1e-6
"""how far below 0 an eigenvalue of K / n may lie: cosines in float32 come to -6e-8"""


def vendi_score(samples: Samples, *, kernel: str | Kernel = "", n: int = 2) -> Reading:
    """By ``kernel(text, text) -> similarity``, positive semidefinite with kernel(a, a) = 1; else by the cosine of
    embeddings where the samples hold them, else of the counts of all 1 ... n-grams.

    Raises ValueError for a kernel that is missing or raises, or whose values are no similarity.

    >>> one = Drawn("p", "", ("a b", "a b", "c d", "c d"), (None,) * 4, ("none",) * 4, (0.0,) * 4, (2,) * 4)
    >>> [round(found.value, 6) for found in vendi_score(Samples((one,))).values.values()]
    [2.0, 2.0, 2.0]
    """
    outside = plugged("kernel", kernel) if kernel else None
    tables = [_similarity(one, outside, n) for one in samples.problems]
    columns = {f"vendi_score/q={q:g}": np.array([vendi(table, q) for table in tables]) for q in ORDERS}
    return reading(columns, "completions")


def vendi(similarity: NDArray[np.float64], q: float = 1.0) -> float:
    """The score of one similarity matrix.

    >>> half = np.array([[1, 0.5], [0.5, 1]])
    >>> [round(vendi(half, q), 6) for q in ORDERS]               # eigenvalues of K / 2: 3/4 and 1/4
    [1.754765, 1.6, 1.333333]
    """
    spectrum = np.linalg.eigvalsh(similarity / len(similarity))
    # rounding leaves -1e-17 where 0 belongs
    spectrum = spectrum[spectrum > 1e-12]
    if math.isinf(q):
        return float(1 / spectrum.max())
    if q == 1:
        return float(np.exp(-(spectrum * np.log(spectrum)).sum()))
    return float((spectrum**q).sum() ** (1 / (1 - q)))


def _similarity(one: Drawn, outside: Kernel | None, n: int) -> NDArray[np.float64]:
    if outside is not None:
        kernel = partial(catalog.call, "kernel", outside, about=f"problem {one.id!r}")
        return _checked(np.array([[kernel(a, b) for b in one.texts] for a in one.texts], dtype=float), one.id)
    if one.embeddings is not None:
        return _cosines(np.array(one.embeddings, dtype=float))
    bags = [Counter(gram for size in range(1, n + 1) for gram in grams(row, size)) for row in sequences(one)]
    columns = {gram: column for column, gram in enumerate(dict.fromkeys(gram for bag in bags for gram in bag))}
    # the last column is for completions without an n-gram, which are alike
    counts = np.zeros((len(bags), len(columns) + 1))
    for row, bag in enumerate(bags):
        counts[row, [columns[gram] for gram in bag] or [-1]] = list(bag.values()) or [1]
    return _cosines(counts)


def _cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1.0)
    return unit @ unit.T


def _checked(table: NDArray[np.float64], problem: str) -> NDArray[np.float64]:
    if not np.isfinite(table).all() or not np.allclose(table, table.T) or not np.allclose(table.diagonal(), 1):
        what = "is no similarity: finite, k(a, b) = k(b, a), k(a, a) = 1"
    elif (least := float(np.linalg.eigvalsh(table)[0])) < -ROUNDING * len(table):
        what = f"is no similarity: positive semidefinite, and its least eigenvalue is {least:.2g}"
    else:
        return table
    raise ValueError(f"kernel: on the completions of problem {problem!r} it {what}")
