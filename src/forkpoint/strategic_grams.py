"""Planning phrases found in correct solutions, and where a text uses them (after arXiv:2509.03646).

Word n-grams of 3 to 5 words are embedded and clustered; what many *solutions* share is strategy ("let me check that"),
what few share is the problem's matter. Needs no torch: numpy finds the phrases, matching them needs neither.

    found = strategic_grams(solutions)                          # once, from correct solutions
    Path("grams.json").write_text(found.to_json())
    manage(GRPOTrainer, method="hicra", labels=labeled_by_grams(found))

The paper names no embedding and no clustering; hashed character trigrams and k-means here need no download.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil
from random import Random
from typing import NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

WORD = re.compile(r"\w+(?:['’]\w+)*")
BREAK = re.compile(r"[.!?;:\n]")
"""a phrase does not run across the end of a sentence or line"""
DIMENSIONS = 256
ROUNDS = 25
"""of k-means at most"""

Embed = Callable[[list[str]], Float[ndarray, "N D"]]
"""distinct phrases -> a vector each, such as ``SentenceTransformer(...).encode``"""


class Place(NamedTuple):
    gram: str
    start: int
    """first character in the text"""
    end: int
    """one past the last"""


@dataclass(frozen=True)
class StrategicGrams:
    """The phrases kept, by cluster, and how they were found."""

    clusters: tuple[tuple[str, ...], ...]
    """phrases of lower-case words with single spaces; the cluster that most solutions share comes first"""
    documents: tuple[int, ...]
    """solutions that hold at least one phrase of the cluster"""
    num_solutions: int

    @cached_property
    def grams(self) -> frozenset[str]:
        return frozenset(gram for cluster in self.clusters for gram in cluster)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of the characters inside phrases, merged where they overlap.

        >>> found = StrategicGrams((("let me check",),), (2,), 2)
        >>> found.spans("Well, let me check: 4.")
        [(6, 18)]
        """
        sizes = sorted({gram.count(" ") + 1 for gram in self.grams})
        merged: list[tuple[int, int]] = []
        for start, end in sorted((p.start, p.end) for p in places(text, sizes) if p.gram in self.grams):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "StrategicGrams":
        """Undo ``to_json``. Raises ValueError, in one line, for anything else."""
        try:
            read = json.loads(text)
            clusters = tuple(tuple(map(str, cluster)) for cluster in read["clusters"])
            return StrategicGrams(clusters, tuple(map(int, read["documents"])), int(read["num_solutions"]))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no strategic grams as to_json writes them: {error!r}") from error


def strategic_grams(
    solutions: Sequence[str],
    *,
    sizes: Sequence[int] = (3, 4, 5),
    share: float = 0.2,
    num_clusters: int = 100,
    embed: Embed | None = None,
    stop: Sequence[str] = (),
    most_within: float | None = None,
) -> StrategicGrams:
    """The phrases in the top ``share`` of clusters by the number of solutions that use them.

    Solutions are counted, not uses: a phrase repeated within one solution counts once. The result does not depend on
    the order of solutions.

    Args:
        solutions: correct ones; from wrong ones it would learn how to go wrong.
        sizes: words in a phrase.
        share: clusters kept, 0.2 as in the paper; at least one.
        num_clusters: k of k-means, or the number of distinct phrases where that is smaller.
        embed: a sentence encoder; None takes hashed character trigrams weighted by rarity.
        stop: phrases to leave out with everything that contains them, such as "the final answer is": what every
            solution says is not always strategy.
        most_within: leave out clusters used more often than this in a solution that uses them, on average; strategy is
            frequent across solutions and rare within one. None leaves out none.

    Raises ValueError where no phrase is found, or for a share outside (0, 1].

    >>> texts = [f"Let me check that {x} and {x} add up." for x in ("cats", "dogs", "trees", "stones")]
    >>> sorted(strategic_grams(texts, num_clusters=12, share=0.1).grams)[:3]
    ['let me check', 'let me check that', 'let me check that cats']
    """
    if not 0 < share <= 1:
        raise ValueError(f"strategic_grams: share={share}; it is a fraction above 0, the top 20 % is 0.2")
    holders = _holders(solutions, sizes, [_normal(phrase) for phrase in stop])
    if not holders:
        raise ValueError(f"strategic_grams: no phrase of {list(sizes)} words in {len(solutions)} solutions; give more")
    grams = sorted(holders)
    vectors = np.asarray((embed or hashed_trigrams)(grams), dtype=np.float64)
    of_gram = k_means(vectors, min(num_clusters, len(grams)))
    members = [[grams[i] for i in np.flatnonzero(of_gram == c)] for c in range(of_gram.max() + 1)]
    counted = [(len(set().union(*(holders[gram] for gram in cluster))), cluster) for cluster in members]
    num_kept = ceil(share * len(counted) - 1e-9)
    if most_within is not None:
        counted = [pair for pair in counted if _uses(solutions, pair[1], sizes) / pair[0] <= most_within]
    # ties by the phrases themselves, never by the order of anything
    kept = sorted(counted, key=lambda pair: (-pair[0], pair[1]))[:num_kept]
    return StrategicGrams(tuple(tuple(cluster) for _, cluster in kept), tuple(num for num, _ in kept), len(solutions))


def random_grams(solutions: Sequence[str], like: StrategicGrams, seed: int = 0) -> StrategicGrams:
    """As many other phrases of the same sizes, drawn from the same solutions: what a method that reads planning must
    beat before planning is what helped.

    Raises ValueError where the solutions do not hold as many.
    """
    rng, clusters = Random(seed), []
    sizes = Counter(gram.count(" ") + 1 for gram in like.grams)
    holders = _holders(solutions, sorted(sizes), [])
    for size, num in sorted(sizes.items()):
        pool = sorted(gram for gram in holders if gram.count(" ") + 1 == size and gram not in like.grams)
        if len(pool) < num:
            raise ValueError(f"random_grams: {num} phrases of {size} words wanted, {len(pool)} there; give more texts")
        clusters += [(gram,) for gram in rng.sample(pool, num)]
    return StrategicGrams(tuple(clusters), tuple(len(holders[gram]) for (gram,) in clusters), len(solutions))


def places(text: str, sizes: Sequence[int]) -> Iterator[Place]:
    """Every phrase of these sizes with its place in the text, none across a sentence's end.

    >>> [place.gram for place in places("Add two. Then stop", (2,))]
    ['add two', 'then stop']
    """
    found = list(WORD.finditer(text))
    broken = [bool(BREAK.search(text, a.end(), b.start())) for a, b in pairwise(found)]
    for first in range(len(found)):
        run = next((i for i in range(first, len(broken)) if broken[i]), len(broken)) + 1 - first
        for size in sizes:
            if size <= run:
                words = found[first : first + size]
                yield Place(" ".join(w[0].lower() for w in words), words[0].start(), words[-1].end())


def hashed_trigrams(phrases: list[str]) -> Float[ndarray, "N D"]:
    """Counts of character trigrams in ``DIMENSIONS`` buckets times log(N / phrases with the bucket), of length one."""
    counts = np.zeros((len(phrases), DIMENSIONS))
    for row, phrase in enumerate(phrases):
        padded = f" {phrase} "
        # crc32: the same on every machine, which Python's hash of a text is not
        for i in range(len(padded) - 2):
            counts[row, crc32(padded[i : i + 3].encode()) % DIMENSIONS] += 1
    weighted = counts * np.log((1 + len(phrases)) / (1 + (counts > 0).sum(0)))
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.where(length > 0, length, 1)


def k_means(vectors: Float[ndarray, "N D"], k: int) -> Int64[ndarray, " N"]:
    """The cluster of each vector by Lloyd's rounds; numbered from 0, fewer than ``k`` where vectors are equal.

    Deterministic: it begins with the vector farthest from the mean, then always the one farthest from all chosen.
    """
    away = ((vectors - vectors.mean(0)) ** 2).sum(1)
    chosen = [int(away.argmax())]
    away = ((vectors - vectors[chosen[0]]) ** 2).sum(1)
    while len(chosen) < k and away.max() > 1e-12:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, ((vectors - vectors[chosen[-1]]) ** 2).sum(1))
    centers, of_vector = vectors[chosen], np.zeros(len(vectors), dtype=np.int64)
    for _ in range(ROUNDS):
        before, of_vector = of_vector, ((centers**2).sum(1) - 2 * vectors @ centers.T).argmin(1)
        if np.array_equal(before, of_vector):
            break
        held = np.unique(of_vector)
        centers[held] = [vectors[of_vector == c].mean(0) for c in held]
    return np.unique(of_vector, return_inverse=True)[1].astype(np.int64)


def _holders(solutions: Sequence[str], sizes: Sequence[int], stop: Sequence[str]) -> dict[str, set[int]]:
    """The solutions that hold each phrase."""
    held: dict[str, set[int]] = {}
    for number, text in enumerate(solutions):
        for gram in {place.gram for place in places(text, sizes)}:
            held.setdefault(gram, set()).add(number)
    return {gram: numbers for gram, numbers in held.items() if not any(f" {word} " in f" {gram} " for word in stop)}


def _uses(solutions: Sequence[str], cluster: Sequence[str], sizes: Sequence[int]) -> int:
    """Places where a phrase of the cluster begins; nested and shifted phrases that touch are one use."""
    one = StrategicGrams((tuple(cluster),), (1,), 1)
    return sum(len(one.spans(text)) for text in solutions)


def _normal(phrase: str) -> str:
    return " ".join(match[0].lower() for match in WORD.finditer(phrase))
