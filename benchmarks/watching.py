"""What do watching and managing cost? CPU time of a training step over stock, on the tiny policy.

    python -m benchmarks.watching --rounds 5

Each round trains every variant once, in turn, so that a drift of the machine's speed meets all of them; the ratio is
taken within a round. Prints a table and keeps the raw rounds in ``benchmarks/results``.
"""

import json
import platform
import subprocess
import time
from datetime import date
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

RESULTS = Path(__file__).parent / "results"
VARIANTS = {
    "watched": ("watch", 1),
    "watched with a task": ("watch with task", 1),
    "managed by kl_cov": ("kl_cov", 1),
    "managed by kl_cov, step in 4 micro-batches": ("kl_cov", 4),
}
"""what is done, and into how many micro-batches the step is cut; each is held against stock with the same cut"""


def main(rounds: int = 5, steps: int = 8) -> None:
    """Time ``rounds`` of ``steps`` optimizer steps for each variant and print the ratios to stock."""
    from forkpoint.recipes.train import quiet_libraries

    quiet_libraries()
    _train("stock", 1, 2)  # warm up: imports, allocator, caches
    kinds = [("stock", 1), ("stock", 4), *VARIANTS.values()]
    seconds = [{f"{what} / {pieces}": _train(what, pieces, steps) for what, pieces in kinds} for _ in range(rounds)]
    result = {"question": "cost of watching", "rounds": seconds, "steps": steps, **_machine()}
    RESULTS.mkdir(exist_ok=True)
    name = f"watching_{platform.machine()}_{date.today()}_{result['commit']}.json"
    (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n")
    print("| variant | CPU time over stock: median [smallest, largest] |\n|---|---|")
    for variant, (what, pieces) in VARIANTS.items():
        ratios = [row[f"{what} / {pieces}"] / row[f"stock / {pieces}"] for row in seconds]
        print(f"| {variant} | {median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}] |")


def _train(what: str, pieces: int, steps: int) -> float:
    """CPU seconds of ``trainer.train()``; construction is not counted."""
    import torch
    from transformers import PrinterCallback

    from forkpoint.tasks.countdown import countdown
    from forkpoint.trainers.trl import watch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        trainer = _trainer(what, pieces, steps, scratch)
        trainer.remove_callback(PrinterCallback)
        if what.startswith("watch"):
            watch(trainer, out=Path(scratch) / "run", task=countdown() if "task" in what else None)
        before = time.process_time()
        trainer.train()
        return time.process_time() - before


def _trainer(what: str, pieces: int, steps: int, scratch: str) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from forkpoint.policies import folder
    from forkpoint.recipes.train import TaskReward
    from forkpoint.tasks.countdown import countdown
    from forkpoint.trainers.trl import manage

    task = countdown()
    cls = manage(GRPOTrainer, method="kl_cov", share=0.02) if what == "kl_cov" else GRPOTrainer
    args = GRPOConfig(
        output_dir=scratch, max_steps=steps, per_device_train_batch_size=256 // pieces, num_generations=8,
        gradient_accumulation_steps=pieces, num_iterations=2,
        max_completion_length=56, learning_rate=2e-4, logging_steps=1, use_cpu=True, bf16=False,
        gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True, beta=0.0,
    )  # fmt: skip
    prompts = Dataset.from_dict({"prompt": [p.prompt for p in islice(task.problems("train"), 32 * steps)]})
    return cls(model=folder("tiny"), reward_funcs=TaskReward(task), args=args, train_dataset=prompts)


def _machine() -> dict[str, str]:
    import torch
    import trl

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    versions = {"torch": torch.__version__, "trl": trl.__version__, "python": platform.python_version()}
    return {"commit": commit or "unknown", "machine": platform.processor() or platform.machine(), **versions}


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
