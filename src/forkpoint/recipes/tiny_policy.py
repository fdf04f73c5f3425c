"""Train the tiny policy from nothing on text that the tasks write, and save it like any other model.

    python -m forkpoint.recipes.tiny_policy --out my_policy

It is Llama-shaped, has one token per word, and learns by next-token prediction on ``Task.demonstrate``.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from forkpoint import catalog
from forkpoint.tasks import Problem, Task

PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"


@dataclass(frozen=True)
class Recipe:
    """Everything the weights depend on."""

    width: int = 64
    layers: int = 4
    heads: int = 4
    hidden: int = 192
    steps: int = 4000
    batch: int = 64
    learning_rate: float = 3e-3
    seed: int = 0
    tasks: tuple[str, ...] = ("countdown", "dyck")
    task_shares: tuple[float, ...] = (0.9, 0.1)
    thinks: bool = True
    """False cuts the thinking off every demonstration, so that the policy learns to answer at once"""

    def __post_init__(self) -> None:
        if not self.tasks or len(self.tasks) != len(self.task_shares):
            raise ValueError(f"tasks={self.tasks}, task_shares={self.task_shares}: give one share for each task")


def tiny_policy(recipe: Recipe, out: Path, *, progress: bool = True) -> Path:
    """Train by ``recipe`` and save model, tokenizer and ``recipe.json`` to ``out``. Deterministic on one machine."""
    torch.manual_seed(recipe.seed)
    tasks: list[Task] = [catalog.get("tasks", name)() for name in recipe.tasks]
    tokenizer = make_tokenizer(tasks)
    model = make_model(recipe, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, (0.9, 0.95), weight_decay=0.01)
    batches = _batches(recipe, tasks, tokenizer)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step / recipe.steps)
        ids, labels = next(batches)
        loss = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if progress and (step % 250 == 0 or step == recipe.steps - 1):
            print(f"step {step:5d}  loss {loss.item():.4f}", flush=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n")
    return out


def make_tokenizer(tasks: Sequence[Task]) -> Any:
    """One token per word of the tasks' vocabularies; decoding puts single spaces back."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = dict.fromkeys([PAD, END, UNKNOWN, *(word for task in tasks for word in task.vocabulary)])
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def make_model(recipe: Recipe, tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.hidden,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=recipe.width**-0.5 * 0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def _schedule(done: float) -> float:
    """Linear warm-up over the first 4 %, then a cosine down to 2 %."""
    return done / 0.04 if done < 0.04 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - 0.04) / 0.96))


def _batches(recipe: Recipe, tasks: Sequence[Task], tokenizer: Any):
    """Endless (ids, labels); only the completion is learned."""
    rng = Random(recipe.seed)
    streams = [task.problems("train", recipe.seed) for task in tasks]
    while True:
        rows: list[tuple[list[int], int]] = []
        for which in rng.choices(range(len(tasks)), recipe.task_shares, k=recipe.batch):
            problem = next(streams[which])
            prompt = tokenizer(problem.prompt)["input_ids"]
            completion = tokenizer(demonstration(tasks[which], problem, rng, recipe.thinks))["input_ids"]
            rows.append(([*prompt, *completion, tokenizer.eos_token_id], len(prompt)))
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
        labels = torch.full((len(rows), longest), -100)
        for i, (row, start) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            labels[i, start : len(row)] = torch.tensor(row[start:])
        yield ids, labels


def demonstration(task: Task, problem: Problem, rng: Random, thinks: bool) -> str:
    """What the task writes; without thinking, the first demonstration that has an answer, from its answer phase on."""
    text = task.demonstrate(problem, rng)
    if thinks or task.thinking is None:
        return text
    while task.thinking.end not in text:
        text = task.demonstrate(problem, rng)
    return text[text.index(task.thinking.end) :]


if __name__ == "__main__":
    import tyro

    def main(out: Path, recipe: Recipe = Recipe()) -> None:  # tyro reads the default's fields as flags
        tiny_policy(recipe, out)

    tyro.cli(main)
