"""What does exact selection over a whole step cost? CPU time beside a sort, a partial sort and a heap, on one core.

    python -m benchmarks.selection --rounds 7

The top 0.2 % of the scores (KL-Cov), the 0.8 quantile (a top-entropy mask), a draw of 0.02 % from a band (Clip-Cov), of
1M and 16M float32 scores. Each round runs every way once, in turn, so that a drift of the machine's speed meets all;
ratios are taken within a round. torch.quantile refuses more than 2^24 scores. Also counted: what two ranks exchange.
"""

import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from tests.laws.thread_ranks import ThreadRanks, on_ranks

from benchmarks._result import save
from forkpoint.credit._select import draw_by_hash, quantile, top_by_score

SHARE, Q, DRAWN, BAND = 2e-3, 0.8, 2e-4, (2.0, 5.0)
LENGTH = 1024
"""tokens in a row"""
OURS = {"top 0.2 %": "torch.topk", "0.8 quantile": "torch.quantile", "draw from a band": "torch.topk"}
"""what we do, and the usual way that its ratio is taken to first"""


def main(rounds: int = 7, small: int = 2**20, large: int = 2**24) -> None:
    """Time every way ``rounds`` times on ``small`` and on ``large`` scores, and print the medians and the ratios."""
    torch.set_num_threads(1)
    timed = {size: _rounds(size, rounds) for size in (small, large)}
    sent = {what: _exchanged(what, small) for what in OURS}
    path = save("selection", {"question": "cost of exact selection", "seconds": timed, "bytes_sent_by_a_rank": sent})
    for size, rows in timed.items():
        _print_table(size, rows)
    print(f"\nsent by each of 2 ranks, {small:,} tokens together: ", end="")
    print(", ".join(f"{what} {num:,} bytes" for what, num in sent.items()))
    print(f"raw rounds: {path}")


def _rounds(size: int, rounds: int) -> list[dict[str, float]]:
    """CPU seconds of each way in each round, after one that is not counted."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(size // LENGTH, LENGTH, generator=draw)
    ways = _ways(scores)
    return [{name: _seconds(way) for name, way in ways.items()} for _ in range(rounds + 1)][1:]


def _ways(scores: torch.Tensor) -> dict[str, Callable[[], Any]]:
    flat, size = scores.flatten(), scores.numel()
    array, num, place = flat.numpy(), int(SHARE * size), math.ceil(Q * size)
    among, rows = torch.ones_like(scores, dtype=torch.bool), torch.arange(len(scores))
    ways: dict[str, Callable[[], Any]] = {
        "top 0.2 %": lambda: top_by_score(scores, among, num, rows),
        "0.8 quantile": lambda: quantile(scores, among, Q),
        "draw from a band": lambda: draw_by_hash(_band(scores), int(DRAWN * size), rows, (0, 0)),
        "torch.topk": lambda: torch.topk(flat, num),
        "torch.kthvalue": lambda: torch.kthvalue(flat, place),
        "np.partition": lambda: np.partition(array, place),
    }
    return ways | ({"torch.quantile": lambda: torch.quantile(flat, Q)} if size < 2**24 else {})


def _band(scores: torch.Tensor) -> torch.Tensor:
    return (scores > BAND[0]) & (scores < BAND[1])


def _seconds(way: Callable[[], Any]) -> float:
    before = time.process_time()
    way()
    return time.process_time() - before


def _exchanged(what: str, size: int) -> int:
    """Bytes that each of two ranks sends for one selection over ``size`` tokens."""

    def work(ranks: ThreadRanks) -> int:
        draw = torch.Generator().manual_seed(ranks.index)
        scores = torch.randn(size // LENGTH // 2, LENGTH, generator=draw)
        among, rows = torch.ones_like(scores, dtype=torch.bool), 2 * torch.arange(len(scores)) + ranks.index
        {
            "top 0.2 %": lambda: top_by_score(scores, among, int(SHARE * size), rows, ranks),
            "0.8 quantile": lambda: quantile(scores, among, Q, ranks),
            "draw from a band": lambda: draw_by_hash(_band(scores), int(DRAWN * size), rows, (0, 0), ranks),
        }[what]()
        return ranks.num_bytes

    return max(on_ranks(2, work))


def _print_table(size: int, rows: list[dict[str, float]]) -> None:
    others = [name for name in rows[0] if name not in OURS]
    print(f"\n{size:,} scores, CPU ms: median [smallest, largest] of {len(rows)} rounds; then how many times as long")
    print(f"| | ms | {' | '.join(others)} |\n|---|---|{'---|' * len(others)}")
    for name in rows[0]:
        own = [1e3 * row[name] for row in rows]
        ratios = [f"{median(row[other] / row[name] for row in rows):.1f}" for other in others]
        cells = ratios if name in OURS else [""] * len(others)
        print(f"| {name} | {median(own):.2f} [{min(own):.2f}, {max(own):.2f}] | {' | '.join(cells)} |")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
