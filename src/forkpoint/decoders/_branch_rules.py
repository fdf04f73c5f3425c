"""Where published branchers branch, as numbers: what they call entropy, when it is enough, how many leaves there are.

One word, four quantities of the next token's distribution p, in nats:

    surprisal     -ln p of the sampled token        TreeRL (arXiv:2506.11902), FR3E (arXiv:2507.07017)
    truncated     -sum p ln p over ten tokens, not renormalized; summed over 20, / ln V    ARPO (arXiv:2507.19849)
    post-warper   of the scores that are drawn from, after temperature and filters         EGB (arXiv:2503.21961)
    full          -sum p ln p, all ids              what three of them call it in their text

Surprisal is an unbiased estimate of the full entropy from one draw, and a noisy one. ``tree_expansion`` takes surprisal
or an entropy, ``entropy_branching`` any entropy of the decoders.

Pitfall  ARPO's number cannot be large: ten equal tokens give ln 10 / ln 151936 = .193 each, and a change of .2 moves
its branching probability by .04.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

TOP = 10
"""log-probs that ARPO's engine returns"""


def leaves(chains: int, positions: int, continuations: int, rounds: int) -> int:
    """Of EPTree's (M, N, T, L): every round adds N T of them to each of M trees.

    >>> leaves(6, 2, 2, 1), leaves(8, 4, 1, 2)
    (30, 72)
    """
    return chains * (1 + positions * continuations * rounds)


def truncated(logp: Sequence[float], vocabulary: int) -> float:
    """ARPO's share of one token: the ten largest log-probs, over ln V.

    >>> round(truncated([math.log(0.1)] * 10, 151_936), 3)
    0.193
    """
    return -sum(math.exp(each) * each for each in sorted(logp, reverse=True)[:TOP]) / math.log(vocabulary)


def branch_probability(change: float, alpha: float = 0.5, beta: float = 0.2) -> float:
    """ARPO's chance to branch after a tool call: alpha + beta dH, within [0, 1]; dH against the first tokens' entropy.

    >>> [round(branch_probability(change), 9) for change in (-1.0, 0.0, 1.0)]
    [0.3, 0.5, 0.7]
    """
    return min(1.0, max(0.0, alpha + beta * change))


def value_changes(values: Sequence[float]) -> list[float]:
    """FR3E's delta: value of every prefix less that of the one before it; of the first, what it lacks of 1.

    >>> value_changes([0.25, 0.5, 0.25])
    [0.75, 0.25, -0.25]
    """
    return [1 - values[0], *(after - before for before, after in pairwise(values))]


def sharpened(changes: Sequence[float], power: float = 1.5) -> list[float]:
    """FR3E's code: the changes to a power with their signs, over the sum of sizes; zeros where all are.

    >>> [round(each, 4) for each in sharpened([0.75, 0.25, -0.25])]
    [0.7221, 0.139, -0.139]
    """
    sizes = [abs(change) ** power for change in changes]
    return [math.copysign(size, change) / (sum(sizes) or 1.0) for size, change in zip(sizes, changes, strict=True)]


def advantage_factors(changes: Sequence[float]) -> list[float]:
    """FR3E's factor on the advantages of a prefix, exp(-delta): a gain damps the signal and a drop amplifies it.

    >>> [round(each, 4) for each in advantage_factors([0.75, 0.25, -0.25])]
    [0.4724, 0.7788, 1.284]
    """
    return [math.exp(-change) for change in changes]
