"""What do watching and managing cost? CPU time of a training step over stock, with a small and a large vocabulary.

    python -m benchmarks.watching --rounds 5

Each round trains every variant once, in turn, so that a drift of the machine's speed meets all of them; the ratio is
taken within a round, against stock with the step cut in as many micro-batches. Prints a table per policy and keeps the
raw rounds in ``benchmarks/results``.
"""

import time
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks._result import save

LARGE_VOCABULARY = 151_936


class Variant(NamedTuple):
    """What is done with a trainer, and into how many micro-batches its step is cut."""

    pieces: int
    watched: bool = False
    task: bool = False
    settings: dict[str, Any] | None = None
    """of KL-Cov; None leaves the trainer stock"""


KL_COV = {"method": "kl_cov", "share": 0.02}
VARIANTS = {
    "watched": Variant(1, watched=True),
    "watched with a task": Variant(1, watched=True, task=True),
    "kl_cov": Variant(1, settings=KL_COV),
    "kl_cov, step in 4, at rollout": Variant(4, settings=KL_COV | {"at": "rollout"}),
    "kl_cov, step in 4, at update": Variant(4, settings=KL_COV),
    "kl_cov at rollout and watched with a task, step in 4": Variant(4, True, True, KL_COV | {"at": "rollout"}),
}


class Policy(NamedTuple):
    """What is trained: the tiny policy, or a narrow one with a large vocabulary."""

    rows: int
    steps: int
    max_tokens: int
    wide: bool


POLICIES = {
    "tiny policy, 256 rows": Policy(256, 8, 56, wide=False),
    f"vocabulary {LARGE_VOCABULARY:,}, width 64, 16 rows": Policy(16, 4, 16, wide=True),
}


def main(rounds: int = 5, only: str = "") -> None:
    """Time ``rounds`` of some optimizer steps for each policy (with ``only`` in its name) and print ratios to stock."""
    from forkpoint.recipes.train import quiet_libraries

    quiet_libraries()
    for name, policy in POLICIES.items():
        if only not in name:
            continue
        _train(policy, Variant(1))  # warm up: imports, allocator, caches
        every = {"stock in 1": Variant(1), "stock in 4": Variant(4), **VARIANTS}
        seconds = [{what: _train(policy, variant) for what, variant in every.items()} for _ in range(rounds)]
        result = {"question": "cost of watching and managing", "policy": name, "rounds": seconds}
        save(f"watching_{'wide' if policy.wide else 'tiny'}", result)
        print(f"\n| {name} | CPU time over stock: median [smallest, largest] |\n|---|---|")
        for what, variant in VARIANTS.items():
            ratios = [row[what] / row[f"stock in {variant.pieces}"] for row in seconds]
            print(f"| {what} | {median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}] |")


def _train(policy: Policy, variant: Variant) -> float:
    """CPU seconds of ``trainer.train()``; construction is not counted."""
    import torch
    from transformers import PrinterCallback

    from forkpoint.tasks.countdown import countdown
    from forkpoint.trainers.trl import watch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        trainer = _trainer(policy, variant, scratch)
        trainer.remove_callback(PrinterCallback)
        if variant.watched:
            watch(trainer, out=Path(scratch) / "run", task=countdown() if variant.task else None)
        before = time.process_time()
        trainer.train()
        return time.process_time() - before


def _trainer(policy: Policy, variant: Variant, scratch: str) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from forkpoint.policies import load
    from forkpoint.recipes.train import TaskReward
    from forkpoint.tasks.countdown import countdown
    from forkpoint.trainers.trl import manage

    task, (model, tokenizer) = countdown(), load("tiny")
    only_known = {}
    if policy.wide:
        only_known = {"suppress_tokens": list(range(model.config.vocab_size, LARGE_VOCABULARY))}
        model = _wide(model)
    cls = manage(GRPOTrainer, **variant.settings) if variant.settings else GRPOTrainer
    args = GRPOConfig(
        output_dir=scratch, max_steps=policy.steps, per_device_train_batch_size=policy.rows // variant.pieces,
        gradient_accumulation_steps=variant.pieces, num_generations=8, num_iterations=2, generation_kwargs=only_known,
        max_completion_length=policy.max_tokens, learning_rate=2e-4, logging_steps=1, use_cpu=True, bf16=False,
        gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True, beta=0.0,
    )  # fmt: skip
    asked = [p.prompt for p in islice(task.problems("train"), policy.rows // 8 * policy.steps)]
    prompts = Dataset.from_dict({"prompt": asked})
    reward = TaskReward(task)
    return cls(model=model, reward_funcs=reward, args=args, train_dataset=prompts, processing_class=tokenizer)


def _wide(model: Any) -> Any:
    """A model of the same kind, narrow and with a large vocabulary, with random weights."""
    from copy import deepcopy

    config = deepcopy(model.config)
    config.vocab_size, config.hidden_size, config.intermediate_size = LARGE_VOCABULARY, 64, 128
    return type(model)(config)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
