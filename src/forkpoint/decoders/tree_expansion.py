"""EPTree: sample chains, then go on afresh from before their least certain tokens (TreeRL, arXiv:2506.11902).

    1  M chains, each the root of a tree
    2  in each tree the N tokens of highest surprisal or entropy, all its branches' among them
    3  T continuations from the prefix before each;  2 and 3 L times:  M (1 + N T L) leaves;  answer: their plurality

Never chosen: the first token of a branch, which its parent's token stood for; what is not thinking, where a completion
thinks at all; a token that was branched at before.

Settings of the paper's script  (M, N, L, T) = (6, 2, 1, 2), 30 leaves; T 1.2, top-p .95.
Worked number  8 chains, 4 tokens, 1 continuation, 2 rounds: 8 (1 + 4 1 2) = 72.
Differs from the authors' code: there a round may branch at the same token as the one before, the answer begins at a
token with "answer" or "conclusion" in it, and leaves train the policy; a budget of tokens is ours. ``by`` is
"surprisal" as there, under the name of entropy; "entropy" is what the paper's text says.
Pitfalls  Every fork reads its prompt and prefix again, and pays: ``entropy_branching`` copies the cache instead. Chains
come first, so a budget below M ``max_tokens`` may leave nothing to branch with; ``note`` says where that was so. Leaves
that share a wrong prefix agree more than samples do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Literal, NamedTuple

from forkpoint.decoders._decoder import Ask, Decode, Decoded, Decoder, Spent, Trace, decoder
from forkpoint.decoders._forks import Fork, grow
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._vote import voted
from forkpoint.decoders._waves import at_most, waves
from forkpoint.decoders.sample import Sample

LIVELY = {"chains": 2}

By = Literal["entropy", "surprisal"]


@decoder
def tree_expansion(
    *,
    chains: int = 6,
    positions: int = 2,
    continuations: int = 2,
    rounds: int = 1,
    by: By = "surprisal",
    threshold: float = 0.0,
    max_tokens: int = 1024,
    temperature: float = 1.2,
    top_k: int = 0,
    top_p: float = 0.95,
    min_p: float = 0.0,
    entropy: Entropy = "raw",
) -> Decoder:
    """The plurality of a forest's leaves. Counts are at least 1, ``rounds`` may be 0: then it is a vote of chains.

    ``max_tokens`` of one leaf from its root. ``entropy`` is what ``by="entropy"`` ranks by; below ``threshold`` nats of
    either no token is branched at.
    """
    if threshold < 0:
        raise ValueError(f"threshold={threshold}: a surprisal or an entropy in nats, at least 0")
    if min(chains, positions, continuations, max_tokens) < 1 or rounds < 0:
        raise ValueError(
            f"chains={chains}, positions={positions}, continuations={continuations}, max_tokens={max_tokens}, "
            f"rounds={rounds}: each is a count, at least 1, and rounds at least 0"
        )
    machine = Sample(Warp(temperature, top_k, top_p, min_p), entropy)
    choice = Choice(positions, continuations, by, threshold)

    def run(asked: Decode) -> list[Decoded]:
        roots = waves(asked, machine, max_tokens, at_most(chains))
        forests = [_Forest(ask, traces) for ask, traces in zip(asked.asks, roots, strict=True)]
        for _ in range(rounds):
            forks = [forest.forks(choice, asked.policy.markers is None) for forest in forests]
            left = [asked.budget - Spent.of(len(forest.ask.prompt), forest.leaves).total for forest in forests]
            grown = grow(asked, machine, max_tokens, forks, left, [len(forest.leaves) for forest in forests])
            for forest, new in zip(forests, grown, strict=True):
                forest.leaves += [trace for _, trace in new]
        return [replace(voted(forest.ask, forest.leaves), note=forest.idle if rounds else "") for forest in forests]

    return Decoder(run, entropy)


class Choice(NamedTuple):
    """Where a round branches, and how often."""

    positions: int
    continuations: int
    by: By
    threshold: float


class _Forest:
    """One problem's leaves, each with the number of its tree as its source."""

    def __init__(self, ask: Ask, roots: Sequence[Trace]) -> None:
        self.ask = ask
        self.leaves = [replace(root, source=number) for number, root in enumerate(roots, 1)]
        self._roots = len(roots)
        self._branched: set[tuple[int, int]] = set()

    def forks(self, choice: Choice, everywhere: bool) -> list[Fork]:
        """The next round's: every tree's first choice, then every tree's second ..."""
        numbers = dict.fromkeys(leaf.source for leaf in self.leaves)
        trees = [self._choices(tree, choice, everywhere)[: choice.positions] for tree in numbers]
        chosen = [place for rank in zip_longest(*trees) for place in rank if place is not None]
        self._branched.update(chosen)
        return [
            Fork(self.ask, choice.continuations, self.leaves[i].ids[:at], self.leaves[i].source) for i, at in chosen
        ]

    @property
    def idle(self) -> str:
        """Why no chain was branched at; empty where one was."""
        if len(self.leaves) > self._roots:
            return ""
        why = "the budget paid for no branch" if self._branched else "no token could be branched at"
        return f"{why}, so all are plain chains"

    def _choices(self, tree: int, choice: Choice, everywhere: bool) -> list[tuple[int, int]]:
        """Leaf and place of every token that may be branched at, the least certain first."""
        found = [
            (-value, i, at)
            for i, leaf in enumerate(self.leaves)
            if leaf.source == tree
            for at, value in uncertainties(leaf, choice.by, everywhere, root=i < self._roots)
            if value >= choice.threshold and (i, at) not in self._branched
        ]
        return [(i, at) for _, i, at in sorted(found)]


def uncertainties(leaf: Trace, by: By, everywhere: bool, *, root: bool) -> Iterator[tuple[int, float]]:
    """Place and surprisal or entropy of a leaf's own tokens that may be branched at: thinking, or ``everywhere``.

    Everywhere too in a leaf that never thinks.

    >>> leaf = Trace((5, 6, 7), "", None, "end", (True, True, False), (0.1, 0.2), logps=(-1.0, -2.0), shared=1)
    >>> list(uncertainties(leaf, "surprisal", False, root=True)), list(uncertainties(leaf, "entropy", True, root=False))
    ([(1, 1.0)], [(2, 0.2)])
    """
    values = leaf.entropy if by == "entropy" else [-logp for logp in leaf.logps]
    everywhere = everywhere or not leaf.thinking
    for at, value in enumerate(values, leaf.shared):
        if (root or at > leaf.shared) and (everywhere or leaf.thought[at]):
            yield at, value
