"""One problem's rows as a tree of tokens: which may fork, what they cost, which are pruned. The model is elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from forkpoint import catalog
from forkpoint.decoders._decoder import Ask, Decode, Finish, Trace
from forkpoint.decoders._scores import Final, Scorer, judged, weights
from forkpoint.decoders._thinking import thought
from forkpoint.draws import token_hash


class Rule(NamedTuple):
    """When rows fork, and how many stay."""

    threshold: float
    expansions: int
    beams: int
    segment: int
    max_tokens: int


@dataclass(frozen=True, eq=False, repr=False)
class Token:
    """A token that was drawn once, however many rows go through it."""

    id: int
    entropy: float
    logp: float
    before: "Token | None" = None

    def path(self) -> "list[Token]":
        """From the first token to this one."""
        found, here = [], self
        while here is not None:
            found.append(here)
            here = here.before
        return found[::-1]


@dataclass
class Branch:
    """A row. ``identity`` follows from its parent's and its number among the children, and keys its draws."""

    identity: int
    last: Token | None = None
    forked: bool = True
    """in this segment; the first has no forks"""


class Taken(NamedTuple):
    """What a row takes at one step: one token, or where it forks several."""

    ids: list[int]
    logps: list[float]
    entropy: float


class Tree:
    """``live`` rows advance together; each tree is a function of problem, seed and settings alone."""

    def __init__(self, ask: Ask, rule: Rule, score: Scorer, asked: Decode) -> None:
        self.ask, self._rule = ask, rule
        self._judge = partial(catalog.call, "scorer", score, about=f"problem {ask.id!r}")
        self._policy, self._seed = asked.policy, asked.seed
        self._left = asked.budget - len(ask.prompt)
        self._longest = asked.longest(ask, rule.max_tokens)
        self._at = self._answered = self._forks = 0
        starts = range(min(rule.expansions, self._left))
        self.live = [Branch(_child(ask.key, number, asked.seed)) for number in starts]
        self._leaves: list[tuple[Branch, Finish]] = []

    def widths(self, entropies: Sequence[float]) -> list[int]:
        """How many tokens each live row takes now: several where it forks and the budget pays for them."""
        spare, found = self._left - len(self.live), []
        for branch, entropy in zip(self.live, entropies, strict=True):
            forks = not branch.forked and entropy > self._rule.threshold
            found.append(1 + min(spare, self._rule.expansions - 1) if forks else 1)
            spare -= found[-1] - 1
        return found

    def advance(self, taken: Sequence[Taken]) -> list[int]:
        """Take these tokens, one entry per live row; then which rows' caches the live rows go on from, in order."""
        children = [(i, child) for i, each in enumerate(taken) for child in self._children(self.live[i], each)]
        self._left -= len(children)
        self._forks += len(children) - len(taken)
        self._at += 1
        going: list[tuple[int, Branch]] = []
        for i, child in children:
            if _last(child).id in self._policy.ends:
                self._leaves.append((child, "end"))
                self._answered += self.ask.answer(self._text(child)) is not None
            else:
                going.append((i, child))
        going = self._affordable(self._pruned(going))
        self.live = [child for _, child in going]
        return [i for i, _ in going]

    def _children(self, parent: Branch, taken: Taken) -> Iterator[Branch]:
        for number, (token, logp) in enumerate(zip(taken.ids, taken.logps, strict=True)):
            last = Token(token, taken.entropy, logp, parent.last)
            if len(taken.ids) == 1:
                yield replace(parent, last=last)
            else:
                yield Branch(_child(parent.identity, number, self._seed), last)

    def _pruned(self, going: list[tuple[int, Branch]]) -> list[tuple[int, Branch]]:
        """At the end of a segment the best; none where enough rows have answered."""
        if self._at % self._rule.segment:
            return going
        kept = self._best(going, 0 if self._answered >= self._rule.beams else self._rule.beams)
        for _, branch in kept:
            branch.forked = False
        return kept

    def _affordable(self, going: list[tuple[int, Branch]]) -> list[tuple[int, Branch]]:
        """As many as what is left pays for one more token of each; none where they are as long as rows get."""
        if self._left > 0 and self._at < self._longest:
            return self._best(going, self._left)
        self._leaves.extend((branch, "limit") for _, branch in going)
        return []

    def _best(self, going: list[tuple[int, Branch]], most: int) -> list[tuple[int, Branch]]:
        """The best-scored in their order; the others are pruned."""
        if len(going) <= most:
            return going
        order = sorted(range(len(going)), key=lambda i: -self._score(going[i][1]))
        self._leaves.extend((going[i][1], "pruned") for i in sorted(order[most:]))
        return [going[i] for i in sorted(order[:most])]

    def _score(self, branch: Branch) -> float:
        return judged(self._judge, self._text(branch), [token.logp for token in _last(branch).path()])

    def _text(self, branch: Branch) -> str:
        return self._policy.text([token.id for token in _last(branch).path()])

    @property
    def idle(self) -> str:
        """Why no row forked; empty where one did, or none should."""
        if self._forks or self._rule.expansions == 1:
            return ""
        if self._at <= self._rule.segment:
            return f"no row was longer than segment={self._rule.segment}, so none forked"
        return f"no row forked: above threshold={self._rule.threshold:g} was no token that the budget paid for"

    def traces(self, final: Final) -> list[Trace]:
        """Rows that have a vote's weight, those that have none, pruned ones; each token is paid for by the first."""
        left = [leaf for leaf in self._leaves if leaf[1] != "pruned"]
        scores = [self._score(branch) for branch, _ in left]
        found = weights([self._trace(*leaf, set()) for leaf in left], scores, final)
        seen: set[Token] = set()
        weighed = [
            replace(self._trace(*leaf, seen), weight=weight, kept=weight > 0)
            for leaf, weight in sorted(zip(left, found, strict=True), key=lambda pair: pair[1] == 0)
        ]
        return weighed + [self._trace(*leaf, seen) for leaf in self._leaves if leaf[1] == "pruned"]

    def _trace(self, branch: Branch, finish: Finish, seen: set[Token]) -> Trace:
        path = _last(branch).path()
        own = [token for token in path if token not in seen]
        seen.update(own)
        ids = tuple(token.id for token in path)
        text = self._policy.text(ids)
        return Trace(
            ids,
            text,
            self.ask.answer(text),
            finish,
            thought(self._policy.markers, self.ask.prompt, ids),
            tuple(token.entropy for token in own),
            sum(token.logp for token in path),
            shared=len(path) - len(own),
            kept=finish != "pruned",
            logps=tuple(token.logp for token in own),
        )


def _child(identity: int, number: int, seed: int) -> int:
    found = token_hash(np.array([identity]), np.array([number]), (seed, 4))
    return int(found.view(np.int64)[0])


def _last(branch: Branch) -> Token:
    assert branch.last is not None, "a row has drawn its first token before anything is asked of it"
    return branch.last
