"""Entropy-gated branching: beams that fork where the next token is uncertain, pruned by a scorer (arXiv:2503.21961).

    start    W = ``expansions`` rows, drawn one by one
    fork     once per segment of ``segment`` tokens, at its first token with H_t > threshold, a row becomes W rows whose
             tokens there differ: the W largest of ln p + g, g standard Gumbel, which draws without replacement
    prune    at the end of a segment the K = ``beams`` best rows by ``scorer`` go on; none when K have answered
    answer   of the finished row with the best score; or by votes, each of 1 or of exp(score)

so the pool holds K + (W - 1) U rows for U that fork. A fork copies the row's cache and reads nothing again; tokens
that rows share are counted once, as discarded where no row that may vote has them: with "best" the others may not.

Settings of the paper's code  threshold 2 nats in the function, 1.5 on its command line, .8 in its script; K and W 3
and 5 in the function, 4 and 4 on the command line; H of the scores that are drawn from (``filtered``); the scorer is a
process reward model of 7 billion parameters.
Worked number  K = 4, W = 4, two of four rows fork: 4 + 3 2 = 10 rows.
Differs from the authors' code: it writes the whole step first, then rolls back to the uncertain token and reads all
again, W times with replacement, and does not count what it threw away; steps end at line breaks there, and rows that
ended without an answer are among the K; temperature and filters are those of the model's own file. No row forks in the
first segment, as there.
Pitfalls  With a threshold in nats of the filtered scores a lower top-p branches less, and rows that end in the first
segment never fork; ``note`` says where none did. The default scorer knows nothing of truth: it prefers what the model
finds likely. Rows share the budget: near its end the lowest scores are dropped so that the others can go on.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count

import numpy as np
import torch

from forkpoint.decoders._decoder import Decode, Decoded, Decoder, decoder
from forkpoint.decoders._lanes import Lanes
from forkpoint.decoders._machine import Look
from forkpoint.decoders._next import Entropy, Next, Warp
from forkpoint.decoders._outside import outside
from forkpoint.decoders._scores import Final, Scorer, mean_logp
from forkpoint.decoders._tree import Rule, Taken, Tree
from forkpoint.decoders._vote import voted

LIVELY = {"threshold": 0.3, "segment": 8}


@decoder
def entropy_branching(
    *,
    threshold: float = 2.0,
    expansions: int = 4,
    beams: int = 4,
    segment: int = 64,
    max_tokens: int = 1024,
    scorer: str = "mean_logp",
    final: Final = "best",
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    entropy: Entropy = "filtered",
) -> Decoder:
    """The answer of a pool of rows. threshold >= 0 nats of ``entropy``; counts are at least 1; ``max_tokens`` of a row.

    ``scorer``: "mean_logp", the mean raw log-prob of a row's tokens, or "module:function", called with the text and the
    log-probs of what a row has written. Larger is better, and exp(score) weighs a vote: a probability's logarithm, say.
    """
    if threshold < 0 or min(expansions, beams, segment, max_tokens) < 1:
        raise ValueError(
            f"threshold={threshold}, expansions={expansions}, beams={beams}, segment={segment}, "
            f"max_tokens={max_tokens}: an entropy in nats, at least 0, and counts, at least 1"
        )
    warp, rule = Warp(temperature, top_k, top_p, min_p), Rule(threshold, expansions, beams, segment, max_tokens)
    judge: Scorer = outside("scorer", scorer, "mean_logp") or mean_logp

    def run(asked: Decode) -> list[Decoded]:
        side_by_side = max(1, asked.rows // (beams * expansions))
        parts = (range(i, min(i + side_by_side, len(asked.asks))) for i in range(0, len(asked.asks), side_by_side))
        trees = chain.from_iterable(_grown(asked, part, rule, judge, warp, entropy) for part in parts)
        return [replace(voted(tree.ask, tree.traces(final)), note=tree.idle) for tree in trees]

    return Decoder(run, entropy)


def _grown(asked: Decode, part: range, rule: Rule, judge: Scorer, warp: Warp, reads: Entropy) -> list[Tree]:
    """The trees of some problems, side by side until all are over; a problem that is over takes no row."""
    trees = [Tree(asked.asks[i], rule, judge, asked) for i in part]
    lanes = Lanes(asked.policy, [tree.ask.prompt for tree in trees], [len(tree.live) for tree in trees])
    for at in count():
        here = Next(lanes.logits, warp)
        taken = _taken(here, trees, reads, at, asked.seed)
        going, first = [], 0
        for tree in trees:
            num = len(tree.live)
            going += [first + i for i in tree.advance(taken[first : first + num])]
            first += num
        if not going:
            return trees
        if going != list(range(first)):
            lanes.pick(going)
        last = [branch.last.id for tree in trees for branch in tree.live if branch.last]
        lanes.feed(torch.tensor(last, device=lanes.logits.device))
    raise AssertionError("a tree is over when its budget is")


def _taken(here: Next, trees: Sequence[Tree], reads: Entropy, at: int, seed: int) -> list[Taken]:
    """What every live row takes: one draw, or where it forks as many that differ."""
    rows = [branch for tree in trees for branch in tree.live]
    entropies = here.entropy(reads).tolist()
    places = iter(entropies)
    widths = [width for tree in trees for width in tree.widths([next(places) for _ in tree.live])]
    off = torch.zeros(len(rows), dtype=torch.bool, device=here.logits.device)
    identity = np.array([branch.identity for branch in rows])
    look = Look(here, at, off, off, identity, seed, None)
    ids = here.draw(look.luck())[:, None].tolist()
    forks = [i for i, width in enumerate(widths) if width > 1]
    for i, drawn in zip(forks, without_replacement(look, forks), strict=True):
        ids[i] = drawn[: widths[i]]
    logps = [here.raw_logp[i, each].tolist() for i, each in enumerate(ids)]
    return [Taken(*each) for each in zip(ids, logps, entropies, strict=True)]


def without_replacement(look: Look, rows: Sequence[int]) -> list[list[int]]:
    """For each of these rows the ids that may be drawn, in the order that drawing without replacement gives them.

    Gumbel top-k: ids by ln p + g, with g = -ln(-ln u) a function of seed, row, place and id.
    """
    if not rows:
        return []
    logp = look.next.filtered_logp[list(rows)].double()
    some = int((logp > -torch.inf).sum(-1).max())
    top = logp.topk(some)
    luck = replace(look, identity=look.identity[list(rows)]).luck_of(top.indices)
    keys = top.values - torch.log(-torch.log(luck))
    order = keys.argsort(dim=-1, descending=True, stable=True)
    num = (top.values > -torch.inf).sum(-1).tolist()
    return [ids[:n] for ids, n in zip(top.indices.gather(1, order).tolist(), num, strict=True)]
