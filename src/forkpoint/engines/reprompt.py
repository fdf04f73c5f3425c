"""Branching over an engine that takes prompts and returns tokens with log-probs: forks are prompts read again.

    generate   (prompts) -> for each prompt its completions, with the log-probs of the drawn and of the 20 likeliest ids
    branch     chains, then the tokens of highest entropy among those at or above ``threshold``, ``continuations`` from
               the prefix before each; answer: their plurality

The rule is ``tree_expansion``'s, and so is the count: a prompt once, and again with its prefix for every fork; never
more than the budget. ``engine_policy`` lets other decoders that sample run over the engine, ``parallel_vote`` say.

Entropy  ``top20`` alone: of an engine's 20 log-probs, renormalized; at most ln 20 = 2.996 nats, and no tail.
Pitfalls  A prompt counts once for all completions that are asked of it together: an engine without a prefix cache reads
it for each. Draws are the engine's: the same seed is the same result only where the engine promises it.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

import torch

from forkpoint.decoders import (
    ENGINE_TOP,
    Ask,
    Decode,
    Decoded,
    Markers,
    Next,
    Policy,
    Row,
    Trace,
    Warp,
    bar,
    build,
    score_of,
    thought,
)
from forkpoint.decoders.sample import Sample


class Prompt(NamedTuple):
    """Completions wanted of an engine."""

    ids: tuple[int, ...]
    num: int
    limit: int
    """most tokens of each"""
    ends: tuple[int, ...]
    """ids after which one is complete"""
    warp: Warp
    seed: int


class Written(NamedTuple):
    """One completion of an engine."""

    ids: tuple[int, ...]
    logps: tuple[float, ...]
    """raw, of its tokens"""
    top: tuple[tuple[float, ...], ...]
    """raw, at every token the largest, 20 or as many as the vocabulary has"""


Generate = Callable[[Sequence[Prompt]], Sequence[Sequence[Written]]]


def branch_by_reprompt(
    generate: Generate,
    asks: Sequence[Ask],
    budget: int,
    *,
    tokenizer: Any,
    ends: Sequence[int],
    context: int | None = None,
    markers: Markers | None = None,
    seed: int = 0,
    **settings: Any,
) -> list[Decoded]:
    """One ``Decoded`` per ask, within ``budget`` tokens of each, re-reads included.

    ``settings`` are those of ``tree_expansion``, whose ``by`` is "entropy" here. With ``markers`` thinking alone is
    branched at, where there is any. Raises ValueError in one line for settings that an engine's log-probs cannot serve.
    """
    policy = engine_policy(generate, tokenizer, ends, context=context, markers=markers)
    made = build("tree_expansion", **{"by": "entropy", "entropy": "top20", **settings})
    return made.decode(policy, asks, budget, seed=seed)


def engine_policy(
    generate: Generate,
    tokenizer: Any,
    ends: Sequence[int],
    *,
    context: int | None = None,
    markers: Markers | None = None,
) -> Policy:
    """An engine as a policy that decoders which only sample can decode from, with ``entropy="top20"``."""

    def complete(asked: Decode, machine: Any, rows: Sequence[Row]) -> list[Trace]:
        if type(machine) is not Sample:
            raise ValueError("an engine draws its tokens by itself, so it serves decoders that only sample")
        if machine.reads != "top20":
            read = f"an engine returns log-probs of {ENGINE_TOP} tokens; choose entropy='top20'"
            raise ValueError(f"entropy={machine.reads!r}: {read}")
        together = _together(rows)
        prompts = [_prompt(asked, machine.warp, [rows[i] for i in each]) for each in together]
        found = [*generate(prompts)]
        traces: dict[int, Trace] = {}
        for each, prompt, completions in zip(together, prompts, found, strict=True):
            for i, one in zip(each, _checked(prompt, completions), strict=True):
                traces[i] = _trace(asked, rows[i], one)
        return [traces[i] for i in range(len(rows))]

    return Policy(None, tokenizer, len(tokenizer), tuple(ends), context, markers, engine=complete)


def confidence_bar(warmup: Sequence[Written], eta: float = 90.0, *, window: int = 2048, k: int = ENGINE_TOP) -> float:
    """DeepConf's threshold for later paths: what the surest ``eta`` percent of these reach, give those that answer.

    k at most 20.
    """
    if not 1 <= k <= ENGINE_TOP or not warmup:
        raise ValueError(f"k={k}, {len(warmup)} warm-up paths: k is 1 to {ENGINE_TOP}, and there must be a path")
    means = [[-sum(top[:k]) / len(top[:k]) for top in one.top] for one in warmup]
    return bar([score_of(confidence, window, "lowest") for confidence in means], eta)


def _together(rows: Sequence[Row]) -> list[list[int]]:
    """Rows that go on from one prefix for as long."""
    found: dict[Any, list[int]] = {}
    for i, row in enumerate(rows):
        found.setdefault((row.ask.id, row.ask.prompt, row.prefix, row.limit), []).append(i)
    return [*found.values()]


def _prompt(asked: Decode, warp: Warp, rows: Sequence[Row]) -> Prompt:
    first = rows[0]
    named = f"{asked.seed} {first.ask.id} {first.sample}"
    seed = int.from_bytes(sha256(named.encode()).digest()[:6], "big")
    return Prompt((*first.ask.prompt, *first.prefix), len(rows), first.limit, asked.policy.ends, warp, seed)


def _checked(prompt: Prompt, completions: Sequence[Written]) -> Sequence[Written]:
    """Raises ValueError where an engine gave other than it was asked for: the count would be wrong."""
    if len(completions) != prompt.num:
        raise ValueError(f"the engine gave {len(completions)} completions of a prompt, not {prompt.num}")
    for one in completions:
        if not 1 <= len(one.ids) <= prompt.limit or not len(one.ids) == len(one.logps) == len(one.top):
            lengths = f"{len(one.ids)} tokens, {len(one.logps)} log-probs and {len(one.top)} times the largest"
            raise ValueError(f"the engine gave {lengths}; from 1 to {prompt.limit} tokens were asked for, with as many")
    return completions


def _trace(asked: Decode, row: Row, one: Written) -> Trace:
    policy, ids = asked.policy, (*row.prefix, *one.ids)
    text = policy.text(ids)
    return Trace(
        ids,
        text,
        row.ask.answer(text),
        "end" if one.ids[-1] in policy.ends else "limit",
        thought(policy.markers, row.ask.prompt, ids),
        tuple(Next(_padded(one.top), Warp()).entropy("top20").tolist()),
        sum(one.logps),
        shared=len(row.prefix),
        reread=(len(row.ask.prompt) if row.reread else 0) + len(row.prefix),
        logps=one.logps,
    )


def _padded(top: Sequence[Sequence[float]]) -> torch.Tensor:
    return torch.tensor([[*islice((*logps, *[-torch.inf] * ENGINE_TOP), ENGINE_TOP)] for logps in top])
