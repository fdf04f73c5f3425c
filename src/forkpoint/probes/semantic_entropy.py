"""Semantic entropy: entropy over the meanings of answers (arXiv:2302.09664; Farquhar et al. 2024).

Answers are clustered by entailment in both directions, each compared with a cluster's first member, the first match
taken. Two numbers, which are not the same and share no name:

    discrete    p(c) = |c| / n
    weighted    p(c) = sum_{s in c} p(s) / sum_s p(s),    p(s) = exp of the completion's log-prob, not per token

and -sum_c p(c) ln p(c) of each, from 0 to ln n nats.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from forkpoint import catalog
from forkpoint.probes._plugged import plugged
from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Drawn, Samples
from forkpoint.probes.answer_entropy import of_counts

Entailment = Callable[[str, str], bool]


def semantic_entropy(samples: Samples, *, entailment: str | Entailment = "") -> Reading:
    """Both forms. ``entailment(a, b) -> bool`` says whether answer a entails b; by default only equal answers do.

    Completions without an answer are a cluster of their own. Long completions have log-probs far apart: the weighted
    form is then that of the few most probable ones. Raises ValueError for an entailment that is missing or raises.

    >>> logp = (-1.0, -1.2, -3.0, -4.0)
    >>> one = Drawn("p", "", ("",) * 4, ("7", "7", "8", "9"), ("none",) * 4, logp, (1,) * 4)
    >>> [round(found.value, 4) for found in semantic_entropy(Samples((one,))).values.values()]
    [1.0397, 0.3618]
    """
    entails = plugged("entailment", entailment) if entailment else None
    labels = [clusters(one.answers, entails and _named(entails, one)) for one in samples.problems]
    columns = {
        "semantic_entropy/discrete": np.array([of_counts(np.bincount(found).tolist()) for found in labels]),
        "semantic_entropy/weighted": np.array(
            [weighted(one, found) for one, found in zip(samples.problems, labels, strict=True)]
        ),
    }
    note = "answers are one where they are equal" if entails is None else "entailment in both directions"
    return reading(columns, "nats", note)


def clusters(answers: Sequence[str | None], entails: Entailment | None) -> NDArray[np.int64]:
    """The cluster of each answer, numbered as they appear; None is a cluster of its own.

    >>> clusters(["2", "2.0", None, "3", None], lambda a, b: float(a) == float(b)).tolist()
    [0, 0, 1, 2, 1]
    """
    firsts: list[str | None] = []
    known: dict[str | None, int] = {}
    for answer in answers:
        if answer not in known:
            same = (i for i, first in enumerate(firsts) if _one_meaning(first, answer, entails))
            known[answer] = next(same, len(firsts))
            firsts += [answer] if known[answer] == len(firsts) else []
    return np.array([known[answer] for answer in answers], dtype=np.int64)


def weighted(one: Drawn, labels: NDArray[np.int64]) -> float:
    """Entropy of the clusters' shares of the completions' total probability."""
    logp = np.array(one.logp)
    # less the largest: a completion of a thousand tokens has a probability that underflows
    weights = np.exp(logp - logp.max())
    p = np.array([np.sort(weights[labels == label]).sum() for label in range(labels.max() + 1)])
    p = np.sort(p[p > 0] / p.sum())
    return abs(float(-(p * np.log(p)).sum()))


def _named(entails: Entailment, one: Drawn) -> Entailment:
    return partial(catalog.call, "entailment", entails, about=f"problem {one.id!r}")


def _one_meaning(first: str | None, other: str | None, entails: Entailment | None) -> bool:
    if first is None or other is None or entails is None:
        return first == other
    return bool(entails(first, other)) and bool(entails(other, first))
