"""How many different answers and strategies, among right and among wrong completions apart (definition).

Sharpening can narrow the right ones, which costs reach, or the wrong ones, which is confidence in an error: one number
over both cannot tell. A strategy is a trait that the task names in words, such as the format of the thinking.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Drawn, Samples

KINDS = ("correct", "wrong")
Labels = Callable[[Drawn], Sequence[Hashable]]


def clusters(samples: Samples) -> Reading:
    """``clusters/WHAT/KIND``: distinct values per problem, and ``.../largest``: the share of the most common one.

    Means over the problems that have such completions; no answer is an answer of its own. The number grows with the
    completions there are, so a model that is right more often has more among its right ones: read it with the share.

    >>> one = Drawn("p", "", ("",) * 4, ("7", "7", "8", None), ("correct",) * 2 + ("wrong",) * 2, (0.0,) * 4, (1,) * 4)
    >>> {name: found.value for name, found in clusters(Samples((one,))).values.items()}
    {'clusters/answers/correct': 1.0, 'clusters/answers/correct/largest': 1.0,
     'clusters/answers/wrong': 2.0, 'clusters/answers/wrong/largest': 0.5}
    """
    columns: dict[str, NDArray[np.float64]] = {}
    for name, labels, kind in _asked(samples):
        counts = [_counts(one, labels, kind) for one in samples.problems]
        key = f"clusters/{name}/{kind}"
        columns[key] = np.array([float(len(found)) or math.nan for found in counts])
        columns[f"{key}/largest"] = np.array([_largest(found) for found in counts])
    units = {key: "share" if key.endswith("/largest") else "clusters" for key in columns}
    silent, every = (sum(counts) for counts in zip(*map(_unanswered, samples.problems), strict=True))
    note = f"{silent} of {every} completions hold no answer, which counts as one" if silent else ""
    return reading(columns, units, note)


def _asked(samples: Samples) -> Iterator[tuple[str, Labels, str]]:
    for kind in KINDS:
        yield "answers", lambda one: one.answers, kind
    rows = [row for one in samples.problems for row in one.traits or ()]
    for name in sorted({name for row in rows for name, value in row.items() if isinstance(value, str)}):
        for kind in KINDS:
            yield name, lambda one, name=name: [row.get(name) for row in one.traits or ()], kind


def _unanswered(one: Drawn) -> tuple[int, int]:
    """How many completions with a verdict hold no answer, of how many."""
    return sum(one.answers[i] is None for i in one.judged), len(one.judged)


def _counts(one: Drawn, labels: Labels, kind: str) -> Counter[Hashable]:
    # a problem without traits has no labels
    return Counter(label for label, verdict in zip(labels(one), one.verdicts, strict=False) if verdict == kind)


def _largest(counts: Counter[Hashable]) -> float:
    return max(counts.values()) / sum(counts.values()) if counts else math.nan
