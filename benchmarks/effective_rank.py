"""What does the effective rank of every prefix cost? CPU time of one Gram matrix beside an SVD per prefix, on one core.

    python -m benchmarks.effective_rank --rounds 5

States of 512 tokens, prefixes 40 apart, in 256, 512, 1024 and 4096 dimensions, with a spectrum that falls like 1 / j
and one direction of 300 times the others. Each round runs every way once, in turn, so that a drift of the machine's
speed meets all; ratios are taken within a round. Errors are relative to the SVD in float64, the largest of a prefix.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from benchmarks._result import save
from forkpoint.metrics._prefix_rank import STRIDE, WINDOW, effective_rank, prefix_ranks

DIMENSIONS = (256, 512, 1024, 4096)
Way = Callable[[Float[Tensor, "T D"]], Float64[Tensor, " J"]]


def main(rounds: int = 5) -> None:
    """Time every way ``rounds`` times for every number of dimensions, and print medians, ratios and errors."""
    torch.set_num_threads(1)
    ways: dict[str, Way] = {
        "one Gram matrix, float64 (ours)": prefix_ranks,
        "SVD per prefix, float64": svd_float64,
        "SVD per prefix, float32": lambda states: svd(states.float()),
        "Gram matrix per prefix, float32": gram_float32,
    }
    found = {dim: _rounds(_states(dim), ways, rounds) for dim in DIMENSIONS}
    path = save("effective_rank", {"question": "cost of the effective rank of every prefix", "found": found})
    print(f"| dimensions | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}")
    for dim, rows in found.items():
        print(f"| {dim} | {' | '.join(_cell(rows, name, next(iter(ways))) for name in ways)} |")
    print(f"\nCPU ms [smallest, largest], times ours, largest relative error. Raw rounds: {path}")


def svd_float64(states: Float[Tensor, "T D"]) -> Float64[Tensor, " J"]:
    """The reference that errors are taken to."""
    ranks = [effective_rank(states[: n + 1]) for n in range(STRIDE, len(states), STRIDE)]
    return torch.tensor(ranks, dtype=torch.float64)


def svd(states: Float[Tensor, "T D"]) -> Float64[Tensor, " J"]:
    """In the precision of the states."""
    prefixes = (states[: n + 1] for n in range(STRIDE, len(states), STRIDE))
    return _ranks([torch.linalg.svdvals(prefix - prefix.mean(0)) for prefix in prefixes])


def gram_float32(states: Float[Tensor, "T D"]) -> Float64[Tensor, " J"]:
    """Square roots of the eigenvalues of each prefix's own Gram matrix, on the smaller side."""
    found = []
    for n in range(STRIDE, len(states), STRIDE):
        centered = (states[: n + 1] - states[: n + 1].mean(0)).float()
        gram = centered @ centered.T if n < centered.shape[1] else centered.T @ centered
        found.append(torch.linalg.eigvalsh(gram).clamp(min=0).sqrt())
    return _ranks(found)


def _ranks(singular: list[Float[Tensor, " n"]]) -> Float64[Tensor, " J"]:
    return torch.stack([torch.special.entr(s / s.sum()).sum().exp() for s in singular]).double()


def _states(dim: int) -> Float[Tensor, "T D"]:
    draw = torch.Generator().manual_seed(0)
    scale = 1 / torch.arange(1, dim + 1)
    scale[0] = 300 * scale[1]
    return torch.randn(WINDOW, dim, generator=draw) * scale


def _rounds(states: Float[Tensor, "T D"], ways: dict[str, Way], rounds: int) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of each way in each round, after one that is not counted, and its error."""
    exact = svd_float64(states)
    found: dict[str, dict[str, list[float]]] = {
        name: {"seconds": [], "error": [float(((way(states) - exact) / exact).abs().max())]}
        for name, way in ways.items()
    }
    for _ in range(rounds):
        for name, way in ways.items():
            before = time.process_time()
            way(states)
            found[name]["seconds"].append(time.process_time() - before)
    return found


def _cell(rows: dict[str, dict[str, list[float]]], name: str, ours: str) -> str:
    seconds = rows[name]["seconds"]
    ratio = median(theirs / own for theirs, own in zip(seconds, rows[ours]["seconds"], strict=True))
    span = f"{1e3 * median(seconds):.0f} [{1e3 * min(seconds):.0f}, {1e3 * max(seconds):.0f}]"
    return f"{span}, {ratio:.1f}x, {rows[name]['error'][0]:.0e}"


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
