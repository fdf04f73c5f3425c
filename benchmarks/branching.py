"""What does a fork cost? CPU time of copying a row's cache beside reading its prefix again, on one core.

    python -m benchmarks.branching --rounds 7

A row that has read 32 to 512 tokens forks into four, and each goes on for ``tokens`` tokens: by a copy of the cache
(ours); by one batch that reads every branch's prefix again, which is what a library without shared prefixes does; by a
batch of its own for every branch. A random Llama of three million parameters. Each round runs every way once, in turn,
so that a drift of the machine's speed meets all; ratios are taken within a round. The branches' log-probs are compared.
"""

import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks._result import save
from forkpoint.decoders import Policy
from forkpoint.decoders._lanes import Lanes

VOCABULARY = 512


def main(
    rounds: int = 7, prefixes: tuple[int, ...] = (32, 64, 128, 256, 512), branches: int = 4, tokens: int = 8
) -> None:
    """Time every way ``rounds`` times for every length of prefix, and print medians, ratios and differences."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    model = random_llama(max(prefixes) + tokens + 1)
    policy = Policy(model, SimpleNamespace(), VOCABULARY, (0,), None, None)
    chosen = torch.randint(VOCABULARY, (branches, tokens), generator=draw)
    ways = _ways(policy, chosen)
    found = {}
    for length in prefixes:
        found[length] = _rounds(torch.randint(VOCABULARY, (length,), generator=draw).tolist(), ways, rounds)
    path = save("branching", {"question": "cost of a fork", "branches": branches, "tokens": tokens, "found": found})
    ours = next(iter(ways))
    print(f"| prefix | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}")
    for length, rows in found.items():
        print(f"| {length} | {' | '.join(_cell(rows, name, ours) for name in ways)} |")
    print(f"\nCPU ms [smallest, largest], times ours, largest difference of a log-prob. Raw rounds: {path}")


def _ways(policy: Policy, chosen: Tensor) -> dict[str, Callable[[list[int]], Callable[[], Tensor]]]:
    """Each takes a prefix, does what is not timed, and returns what is."""

    def copied(prefix: list[int]) -> Callable[[], Tensor]:
        lanes = Lanes(policy, [prefix], [1])

        def fork() -> Tensor:
            lanes.pick([0] * len(chosen))
            return _fed(lanes, chosen)

        return fork

    def together(prefix: list[int]) -> Callable[[], Tensor]:
        prompts = [[*prefix, first] for first in chosen[:, 0].tolist()]
        return lambda: _fed(Lanes(policy, prompts, [1] * len(prompts)), chosen[:, 1:])

    def each(prefix: list[int]) -> Callable[[], Tensor]:
        return lambda: torch.cat([_fed(Lanes(policy, [[*prefix, int(row[0])]], [1]), row[None, 1:]) for row in chosen])

    return {"the cache copied (ours)": copied, "all read again in a batch": together, "each read again alone": each}


def _fed(lanes: Lanes, tokens: Tensor) -> Tensor:
    for column in tokens.T:
        lanes.feed(column)
    return lanes.logits.log_softmax(-1)


def random_llama(context: int) -> Any:
    """Three million parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=context,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def _rounds(prefix: list[int], ways: dict[str, Any], rounds: int) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of each way in each round, after one that is not counted, and its difference from ours."""
    found: dict[str, dict[str, list[float]]] = {name: {"seconds": []} for name in ways}
    first: Tensor | None = None
    for name, way in ways.items():
        logp = way(prefix)()
        first = logp if first is None else first
        found[name]["difference"] = [float((logp - first).abs().max())]
    for _ in range(rounds):
        for name, way in ways.items():
            timed = way(prefix)
            before = time.process_time()
            timed()
            found[name]["seconds"].append(time.process_time() - before)
    return found


def _cell(rows: dict[str, dict[str, list[float]]], name: str, ours: str) -> str:
    seconds = rows[name]["seconds"]
    ratio = median(theirs / own for theirs, own in zip(seconds, rows[ours]["seconds"], strict=True))
    span = f"{1e3 * median(seconds):.1f} [{1e3 * min(seconds):.1f}, {1e3 * max(seconds):.1f}]"
    return f"{span}, {ratio:.2f}x, {rows[name]['difference'][0]:.0e}"


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
