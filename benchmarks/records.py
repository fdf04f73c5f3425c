"""What does recording completions cost? Our Parquet parts beside plain JSONL of the same rows.

    python -m benchmarks.records --rounds 5

Each round writes the same rows once as parts (a table, then rows, then through the writer with its tail, checksums and
commits) and once as JSONL. Rows are synthetic: token ids by Zipf's law over 32,000, entropies and log-probs in float32.
Prints millions of tokens per CPU second and bytes per token, and keeps the raw rounds in ``benchmarks/results``.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._result import save
from forkpoint.record import RunWriter
from forkpoint.record._parts import read_part, write_part
from forkpoint.record.schema import ROLLOUTS, rollout_table

METHOD = {"name": "grpo", "settings": {}, "intervenes": False}
Measured = dict[str, tuple[float, int]]
"""way of writing or reading -> (CPU seconds, bytes)"""


def main(rounds: int = 5, completions: int = 2000, tokens: int = 100) -> None:
    """Write and read ``completions`` of ``tokens`` tokens in every way, ``rounds`` times in turn."""
    rows = [row(number, tokens) for number in range(completions)]
    table = rollout_table(rows)
    measure(rows[:50], rollout_table(rows[:50]))  # warm up: imports, allocator
    measured = [measure(rows, table) for _ in range(rounds)]
    count = completions * tokens
    path = save("records", {"question": "cost of recording", "tokens": count, "rounds": measured})
    print("| way | Mtokens per CPU second | bytes per token | times JSONL's speed |\n|---|---|---|---|")
    for way in measured[0]:
        seconds, size = median(found[way][0] for found in measured), measured[0][way][1]
        against = "read JSONL" if way.startswith("read") else "write JSONL"
        ratios = [found[against][0] / found[way][0] for found in measured]
        span = f"{median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]"
        print(f"| {way} | {count / seconds / 1e6:.2f} | {size / count:.1f} | {span} |")
    print(path)


def measure(rows: list[dict[str, Any]], table: pa.Table) -> Measured:
    """One round: every way once."""
    with TemporaryDirectory() as scratch:
        folder, lines = Path(scratch), Path(scratch) / "rows.jsonl"
        (folder / ROLLOUTS).mkdir()
        found: Measured = {}
        part, seconds = timed(lambda: write_part(folder, 0, table))
        found["write a part from a table"] = (seconds, part.bytes)
        _, seconds = timed(lambda: write_part(folder, 1, rollout_table(rows)))
        found["write a part from rows"] = (seconds, part.bytes)
        size, seconds = timed(lambda: run_of(rows, folder / "run"))
        found["write a run, tail and commits included"] = (seconds, size)
        _, seconds = timed(lambda: write_lines(rows, lines))
        found["write JSONL"] = (seconds, lines.stat().st_size)
        _, seconds = timed(lambda: read_part(folder, None, part))
        found["read a part, checked"] = (seconds, part.bytes)
        _, seconds = timed(lambda: [json.loads(line) for line in lines.open(encoding="utf-8")])
        found["read JSONL"] = (seconds, lines.stat().st_size)
        return found


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    before = time.process_time()
    result = work()
    return result, time.process_time() - before


def run_of(rows: list[dict[str, Any]], path: Path) -> int:
    """Bytes of the parts of a run that got the rows sixteen at a time."""
    about: dict[str, Any] = {"name": "n", "config": {}, "method": METHOD, "task": "t", "seed": 0, "definitions": {}}
    with RunWriter.create(path, **about, sync=False) as writer:
        for start in range(0, len(rows), 16):
            writer.rollouts(rows[start : start + 16])
    return sum(file.stat().st_size for file in (path / ROLLOUTS).iterdir())


def write_lines(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in rows:
            file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def row(number: int, tokens: int) -> dict[str, Any]:
    """A completion as a run of GRPO records it; 16 of a step."""
    draw = np.random.default_rng(number)
    ids = np.minimum(draw.zipf(1.2, tokens), 32_000)
    entropy = draw.gamma(0.5, 0.6, tokens).astype(np.float32)
    logp = (-draw.exponential(entropy + 1e-3)).astype(np.float32)
    return {
        "kind": "train",
        "step": number // 16,
        "group": number // 8,
        "sample": number % 8,
        "text": " ".join(f"w{i}" for i in ids),
        "tokens": [f"w{i}" for i in ids],
        "token_ids": ids.tolist(),
        "logp_sampler": logp.tolist(),
        "logp_trainer": (logp + draw.normal(0, 1e-3, tokens).astype(np.float32)).tolist(),
        "entropy": entropy.tolist(),
        "label": draw.integers(0, 5, tokens).tolist(),
        "advantage": float(draw.normal()),
        "reward": float(draw.integers(2)),
    }


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
