"""Abstractions first, then solutions that use them: m abstractions of k solutions each (RLAD, arXiv:2510.02263).

    z_1 .. z_m  ~ pi_abs(z | x), distinct
    y_1 .. y_k  ~ pi_sol(y | x, z_i), for every i;   answer: plurality of the m k solutions

at a fixed budget, in which the tokens of abstractions, reading them, and reading the prompt again with each all count.
With m = 0 the k solutions are plain samples: the control, under the same count.

``generator``  "module:function" is called with (prompt text, m, seed) and returns at most m texts; each stands behind
the prompt, in ``template``. "opening" is a stand-in for models without a generator: the policy's own first ``opening``
tokens, drawn until m differ, and solutions go on from them. It tests how breadth trades against depth at equal tokens,
and says nothing about learnt abstractions.

Settings of the paper  32 thousand tokens a solution; it compares an n x n grid with n^2 plain solutions.
Worked number  its grid of 16 has pass@k .71 against .65 of plain samples, that of 256 .87 against .82.
Differs from the paper, which has no public code: it counts solutions, here tokens are equal; ``template`` is ours.
Pitfalls  A wrong abstraction takes k solutions with it. An abstraction is left out where the budget may not pay for one
solution after it, or the context has no room for one; where none is left there are plain samples, and ``note`` says so.
Behind a chat prompt the text stands in the model's turn. What a generator of yours reads, and what it throws away, is
not counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from forkpoint import catalog
from forkpoint.decoders._decoder import Ask, Decode, Decoded, Decoder, Spent, Trace, decoder
from forkpoint.decoders._forks import Fork, grow
from forkpoint.decoders._machine import Row, complete
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._outside import outside
from forkpoint.decoders._policy import Policy
from forkpoint.decoders._vote import voted
from forkpoint.decoders._waves import at_most, waves
from forkpoint.decoders.sample import Sample

LIVELY = {"m": 2, "k": 2, "opening": 4}

DRAWS = 4
"""openings drawn at most for each one that is wanted"""
Proposed = tuple[list[Trace], list[Fork], str]
"""what was written to find abstractions, the forks that solve with them, and why there is none where there is none"""
TOO_DEAR = "no abstraction within the budget"


@decoder
def abstractions(
    *,
    m: int = 4,
    k: int = 4,
    generator: str = "opening",
    opening: int = 16,
    template: str = "{abstraction}\n",
    max_tokens: int = 1024,
    temperature: float = 0.6,
    top_k: int = 0,
    top_p: float = 0.95,
    min_p: float = 0.0,
    entropy: Entropy = "raw",
) -> Decoder:
    """The plurality of solutions. m >= 0 abstractions, k >= 1 solutions of each, or in all where m is 0.

    ``max_tokens`` of a solution, its opening included. ``entropy`` is recorded and decides nothing.
    """
    if m < 0 or k < 1 or opening < 1 or max_tokens < 1 or (generator == "opening" and opening >= max_tokens):
        raise ValueError(
            f"m={m}, k={k}, opening={opening}, max_tokens={max_tokens}: m is a count, k one of at least 1, and an "
            "opening of at least 1 token must leave some for the solution"
        )
    if "{abstraction}" not in template:
        raise ValueError(f"template={template!r}: it must hold {{abstraction}}")
    machine = Sample(Warp(temperature, top_k, top_p, min_p), entropy)
    propose = outside("generator", generator, "opening")

    def run(asked: Decode) -> list[Decoded]:
        if not m:
            plain = waves(asked, machine, max_tokens, at_most(k))
            return [voted(ask, traces) for ask, traces in zip(asked.asks, plain, strict=True)]
        if propose is None:
            proposed = _openings(asked, machine, m, opening, max_tokens)
        else:
            texts = [_proposed(asked, ask, propose, m) for ask in asked.asks]
            found = [_put(asked.policy, each, m, template) for each in texts]
            proposed = [_within(asked, *pair, max_tokens) for pair in zip(asked.asks, found, strict=True)]
        return _solved(asked, machine, proposed, k, max_tokens)

    return Decoder(run, entropy)


def reward_of_solution(without: bool, correct: bool) -> float:
    """What RLAD pays its solver: for a right answer with an abstraction, and for nothing ``without`` one.

    >>> [reward_of_solution(*case) for case in ((True, True), (False, True), (True, False), (False, False))]
    [0.0, 1.0, 0.0, 0.0]
    """
    return float(correct and not without)


def reward_of_abstraction(correct: Sequence[bool]) -> float:
    """What RLAD pays its generator: the share of right solutions that used the abstraction; one at least.

    >>> reward_of_abstraction([True, False, False, True])
    0.5
    """
    return sum(correct) / len(correct)


def _solved(asked: Decode, machine: Sample, proposed: Sequence[Proposed], k: int, max_tokens: int) -> list[Decoded]:
    found = [list(traces) for traces, *_ in proposed]
    left = [
        asked.budget - Spent.of(len(ask.prompt), traces).total for ask, traces in zip(asked.asks, found, strict=True)
    ]
    forks = [[fork._replace(want=k) for fork in each] for _, each, _ in proposed]
    for traces, new in zip(found, grow(asked, machine, max_tokens, forks, left, [*map(len, found)]), strict=True):
        traces += [trace for _, trace in new]
    plain = [i for i, traces in enumerate(found) if not traces]
    control = asked._replace(asks=[asked.asks[i] for i in plain])
    for i, traces in zip(plain, waves(control, machine, max_tokens, at_most(k)), strict=True):
        found[i] = traces
    decided = [voted(ask, traces) for ask, traces in zip(asked.asks, found, strict=True)]
    return [replace(one, note=_idle(i in plain, *proposed[i][1:])) for i, one in enumerate(decided)]


def _idle(plain: bool, forks: Sequence[Fork], why: str) -> str:
    """Why no solution goes on from an abstraction; empty where one does."""
    if plain:
        return f"{why}, so all are plain samples"
    return "" if forks else "every opening was a whole completion, so none was gone on from"


def _openings(asked: Decode, machine: Sample, m: int, opening: int, max_tokens: int) -> list[Proposed]:
    """Waves of them until each problem has m that differ, or is out of draws, or has no more than a solution takes."""
    drawn: list[list[Trace]] = [[] for _ in asked.asks]
    while wave := [
        (i, Row(ask, len(traces) + j, opening, reread=bool(traces) and j == 0))
        for i, (ask, traces) in enumerate(zip(asked.asks, drawn, strict=True))
        for j in range(_more(asked, ask, traces, m, opening, max_tokens))
    ]:
        for (i, _), trace in zip(wave, complete(asked, machine, [row for _, row in wave]), strict=True):
            # a completion that is over is a solution, and the beginning of none
            drawn[i].append(replace(trace, kept=trace.finish == "end"))
    return [
        (traces, [Fork(ask, 1, ids, number) for number, ids in enumerate(_distinct(traces), 1)], TOO_DEAR)
        for ask, traces in zip(asked.asks, drawn, strict=True)
    ]


def _more(asked: Decode, ask: Ask, drawn: Sequence[Trace], m: int, opening: int, max_tokens: int) -> int:
    """Openings to draw now, with a solution's tokens put by."""
    if opening >= (longest := asked.longest(ask, max_tokens)):
        return 0
    left = asked.budget - Spent.of(len(ask.prompt), drawn).total - (len(ask.prompt) + longest)
    paid = max(0, left - (len(ask.prompt) if drawn else 0)) // opening
    return min(paid, m - len(_distinct(drawn)), DRAWS * m - len(drawn))


def _distinct(drawn: Sequence[Trace]) -> list[tuple[int, ...]]:
    return list(dict.fromkeys(trace.ids for trace in drawn if not trace.kept))


def _proposed(asked: Decode, ask: Ask, propose: Callable[..., Any], m: int) -> Any:
    """What the generator returns. ValueError, in one line, where it raises."""
    prompt = asked.policy.text(ask.prompt)
    return catalog.call("generator", propose, prompt, m, asked.seed, about=f"problem {ask.id!r}")


def _put(policy: Policy, texts: Any, m: int, template: str) -> list[tuple[Trace, tuple[int, ...]]]:
    """Every abstraction as a trace, and the ids that stand behind the prompt."""
    if not isinstance(texts, list | tuple) or len(texts) > m or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"abstractions: the generator must return at most {m} texts; it returned {texts!r:.60}")

    def ids(text: str) -> tuple[int, ...]:
        return tuple(policy.tokenizer.encode(text, add_special_tokens=False))

    distinct = enumerate(dict.fromkeys(texts), 1)
    return [
        (
            Trace(ids(text), text, None, "stopped", kept=False, source=number),
            ids(template.replace("{abstraction}", text)),
        )
        for number, text in distinct
    ]


def _within(asked: Decode, ask: Ask, put: Sequence[tuple[Trace, tuple[int, ...]]], max_tokens: int) -> Proposed:
    """Those that budget and context have room for beside one solution with the last of them."""
    traces: list[Trace] = []
    forks: list[Fork] = []
    why = TOO_DEAR if put else "the generator gave no abstraction"
    for trace, behind in put:
        fork = Fork(replace(ask, prompt=(*ask.prompt, *behind)), 1, source=trace.source)
        left = asked.budget - Spent.of(len(ask.prompt), [*traces, trace]).total - fork.read
        if left <= 0:
            continue
        if (context := asked.policy.context) is not None and fork.read >= context:
            why = "no abstraction within budget and context"
        elif asked.longest(fork.ask, max_tokens) <= left:
            traces.append(trace)
            forks.append(fork)
    return traces, forks, why
