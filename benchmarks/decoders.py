"""What does a decoder's token cost? CPU time per generated token beside transformers' own ``generate``, on one core.

    python -m benchmarks.decoders --rounds 7

A random Llama of three million parameters whose end token is never drawn. *Even*: 64 prompts of 16 tokens, 64 tokens
each, every decoder of single completions at settings that end no thought early; log-probs and entropies of every token
are recorded, which ``generate`` is not asked for. *Ragged*: 32 prompts, 8 samples each, at most 160 tokens, lengths
drawn to a mean of 64 and the same for both: ``generate`` is told of them by a stopping criterion. *Many*: a quarter of
the even prompts with four times the tokens, spent on paths and branches; a token that is thrown away counts as one, and
what chooses between them is in the time. Each round runs every
way once, in turn, so that a drift of the machine's speed meets all; ratios are taken within a round. An even decoder is
held against ``generate`` without filters and against ``generate`` that draws as the decoder does: a top-p sorts the
vocabulary in either.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from types import SimpleNamespace
from typing import Any, Literal, get_args

import numpy as np
import torch

from benchmarks._result import save
from benchmarks.branching import VOCABULARY, random_llama
from forkpoint.decoders import Ask, Markers, Policy, build
from forkpoint.decoders._decoder import Decode
from forkpoint.decoders._machine import Row, complete
from forkpoint.decoders._next import Warp
from forkpoint.decoders.sample import Sample

EVEN: Mapping[str, dict[str, float]] = {
    "greedy": {},
    "sample": {},
    "soft_thinking": {},
    "randomised_soft_thinking": {},
    "swi_reasoning": {},
    "entropy_stop": {"threshold": 0.0},
    "budget_forcing": {"waits": 0},
}
MANY: Mapping[str, dict[str, float]] = {
    "parallel_vote": {},
    "deep_confidence": {"warmup": 2, "wave": 2, "window": 16},
    "cot_decoding": {"k": 4},
    "entropy_branching": {"segment": 16, "beams": 2, "expansions": 2},
    "tree_expansion": {"chains": 2, "continuations": 2},
    "abstractions": {"m": 2, "k": 2, "opening": 8},
}
"""decoders of several completions; each may have as many tokens as four of the even ones"""
Part = Literal["even", "ragged", "many"]
MARKERS = Markers(end=(VOCABULARY - 3, VOCABULARY - 2), again=(1, 2))
PROMPT = 16


def main(
    rounds: int = 7,
    rows: int = 64,
    tokens: int = 64,
    prompts: int = 32,
    samples: int = 8,
    cap: int = 160,
    only: tuple[Part, ...] = get_args(Part),
) -> None:
    """Time every way ``rounds`` times, and print medians and ratios."""
    torch.set_num_threads(1)
    model = random_llama(PROMPT + cap + 1)
    # the end token is the last id, which is not drawn
    tokenizer = SimpleNamespace(decode=lambda ids, **_: "")
    policy = Policy(model, tokenizer, VOCABULARY - 1, (VOCABULARY - 1,), None, MARKERS)
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY - 3, (max(rows, prompts), PROMPT), generator=draw)
    parts = {
        "even": lambda: _even(policy, ids[:rows], tokens),
        "ragged": lambda: _ragged(policy, ids[:prompts], samples, cap),
        "many": lambda: _many(policy, ids[: rows // 4], tokens),
    }
    found = {name: _rounds(ways(), rounds) for name, ways in parts.items() if name in only}
    about = {"rows": rows, "tokens": tokens, "prompts": prompts, "samples": samples, "cap": cap}
    path = save("decoders", {"question": "cost of a decoder's token", **about, "found": found})
    for name, ways in found.items():
        base = next(iter(ways))
        alike = " | of generate that draws alike" if name == "even" else ""
        print(f"\n| {name} | µs per token | of {base}{alike} |\n|---|---|---|{'---|' * bool(alike)}")
        for way, seconds in ways.items():
            same = f" | {_ratio(seconds, ways[_alike(way)]) if way in EVEN else ''}" if alike else ""
            print(f"| {way} | {_microseconds(seconds)} | {_ratio(seconds, ways[base])}{same} |")
    print(f"\nCPU time, medians [smallest, largest]. Raw rounds: {path}")


Way = Callable[[], int]
"""decodes, and returns how many tokens it made"""


def _even(policy: Policy, ids: torch.Tensor, tokens: int) -> dict[str, Way]:
    asks = [Ask(str(i), tuple(row)) for i, row in enumerate(ids.tolist())]

    def generated(name: str) -> Way:
        return lambda: _generate(policy, ids, tokens, _draws(name), None)

    def ours(name: str, settings: dict[str, float]) -> Way:
        made = build(name, **settings)
        return lambda: sum(one.spent.kept for one in made.decode(policy, asks, PROMPT + tokens))

    # sampled first, which the others are held against; one for all that draw alike
    ways = {_alike(name): generated(name) for name in ("sample", *EVEN)}
    return ways | {name: ours(name, settings) for name, settings in EVEN.items()}


def _draws(name: str) -> dict[str, Any]:
    """How ``generate`` is told to draw as a decoder does."""
    settings = build(name, **EVEN[name]).settings
    keys = ("temperature", "top_k", "top_p")
    return {"do_sample": True} | {key: settings[key] for key in keys} if "top_p" in settings else {"do_sample": False}


def _alike(name: str) -> str:
    """What the table calls ``generate`` that draws as a decoder does."""
    told = _draws(name)
    shown = ", ".join(f"{key} {told[key]:g}" for key in ("temperature", "top_k", "top_p") if key in told)
    return f"generate, {shown or 'greedy'}"


def _many(policy: Policy, ids: torch.Tensor, tokens: int) -> dict[str, Way]:
    # an answer for every completion, so that votes have something to count
    asks = [Ask(str(i), tuple(row), lambda text: "one") for i, row in enumerate(ids.tolist())]

    def ours(name: str, settings: dict[str, float]) -> Way:
        capped = {"max_tokens": tokens} if "max_tokens" in build(name).settings else {}
        made = build(name, **settings, **capped)
        return lambda: sum(
            one.spent.kept + one.spent.discarded for one in made.decode(policy, asks, PROMPT + 4 * tokens)
        )

    repeated = ids.repeat_interleave(4, 0)
    ways: dict[str, Way] = {"generate, sampled": lambda: _generate(policy, repeated, tokens, _draws("sample"), None)}
    return ways | {name: ours(name, settings) for name, settings in MANY.items()}


def _ragged(policy: Policy, ids: torch.Tensor, samples: int, cap: int) -> dict[str, Way]:
    rng = np.random.default_rng(0)
    # geometric with a mean of 64 before the cap, as lengths of chains are skewed
    lengths = np.minimum(rng.geometric(1 / 64, (len(ids), samples)), cap)
    asks = [Ask(str(i), tuple(row)) for i, row in enumerate(ids.tolist())]
    rows = [Row(ask, j, int(lengths[i, j])) for i, ask in enumerate(asks) for j in range(samples)]
    asked = Decode(policy, asks, PROMPT + cap)

    def ours() -> int:
        return sum(trace.generated for trace in complete(asked, Sample(Warp()), rows))

    repeated = ids.repeat_interleave(samples, 0)
    return {
        "generate, sampled": lambda: _generate(
            policy, repeated, cap, _draws("sample"), torch.tensor(lengths.flatten())
        ),
        "finished rows dropped, prompts read once": ours,
    }


def _generate(
    policy: Policy, ids: torch.Tensor, tokens: int, draws: Mapping[str, Any], lengths: torch.Tensor | None
) -> int:
    from transformers import StoppingCriteriaList

    def done(read: torch.Tensor, _: object, **rest: object) -> torch.Tensor:
        assert lengths is not None
        return read.shape[1] - PROMPT >= lengths

    stop = StoppingCriteriaList([done] if lengths is not None else [])
    mask = torch.ones_like(ids)
    never = {"suppress_tokens": [VOCABULARY - 1], "pad_token_id": 0}
    with torch.random.fork_rng():
        out = policy.model.generate(
            ids, attention_mask=mask, max_new_tokens=tokens, stopping_criteria=stop, **draws, **never
        )
    return int(lengths.sum()) if lengths is not None else (out.shape[1] - PROMPT) * len(ids)


def _rounds(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """CPU seconds per token of each way in each round, after one that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            before = time.process_time()
            made = way()
            if number:
                found[name].append((time.process_time() - before) / made)
    return found


def _microseconds(seconds: list[float]) -> str:
    return f"{1e6 * median(seconds):.0f} [{1e6 * min(seconds):.0f}, {1e6 * max(seconds):.0f}]"


def _ratio(seconds: list[float], base: list[float]) -> str:
    ratios = [own / other for own, other in zip(seconds, base, strict=True)]
    return f"{median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
