"""Held-out evaluation that leaves training exactly as it was: its random draws come from a forked generator."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from forkpoint.batch import Mean, StepBatch
from forkpoint.metrics import measure
from forkpoint.metrics._mutual_information import prompt_information
from forkpoint.metrics.pass_at_k import applies, pass_at_k
from forkpoint.policies.logp import crossed_logp, token_logp
from forkpoint.policies.sample import Sampled, sample
from forkpoint.roles import masks
from forkpoint.tasks import Problem, Task, Verdict
from forkpoint.verify import score


@dataclass(frozen=True)
class Evaluation:
    """``samples`` completions for each of ``problems`` held-out problems, every ``every`` optimizer steps."""

    problems: int = 128
    samples: int = 8
    every: int = 20
    seed: int = 20_000
    max_tokens: int = 56
    temperature: float = 1.0
    crossed: int = 8
    """problems, spread over the held-out ones, whose first completions are scored under each other's prompts: one
    forward row per pair, without sampling; 0 leaves ``diversity/mutual_information`` out"""


@dataclass(frozen=True)
class Evaluated:
    values: dict[str, float]
    """``accuracy``, ``pass@1`` ... ``pass@samples``, ``entropy/...`` and ``diversity/...``"""
    rollouts: list[dict[str, Any]]
    traits: tuple[str, ...] = ()
    """those of the values that tell kinds of completions"""


def evaluate(model: Any, tokenizer: Any, task: Task, evaluation: Evaluation, *, keep: int = 16) -> Evaluated:
    """Sample, score and measure; the model's mode and every random state are as before when it returns."""
    problems = [p for p in islice(task.problems("test"), evaluation.problems) for _ in range(evaluation.samples)]
    settings = {"max_tokens": evaluation.max_tokens, "temperature": evaluation.temperature}
    drawn = sample(model, tokenizer, [p.prompt for p in problems], seed=evaluation.seed, **settings)
    logp, entropy = token_logp(model, drawn, evaluation.temperature)
    chosen = [row[mask].tolist() for row, mask in zip(drawn.ids, drawn.mask, strict=True)]
    tokens = [tokenizer.convert_ids_to_tokens(ids) for ids in chosen]
    verdicts = score(task, problems, drawn.texts)
    step = StepBatch(
        logp=logp,
        logp_old=logp,
        mask=drawn.mask,
        advantage=torch.zeros(len(problems), device=logp.device),
        entropy=entropy,
        label=label_tokens(task, problems, tokens, drawn.mask),
        correct=torch.tensor([v.correct for v in verdicts], device=logp.device),
        group=torch.arange(len(problems), device=logp.device) // evaluation.samples,
    )
    readings = {key: value for key, value in measure(step, roles=masks(step)).items() if key.startswith("entropy/")}
    values = {key: float(reading.value) for key, reading in readings.items()}
    values |= {key: mean.value for key, mean in verdict_means(verdicts).items()}
    judged = step.rows(torch.tensor([v.outcome != "none" for v in verdicts], device=logp.device).nonzero()[:, 0])
    for k in range(1, evaluation.samples + 1):
        if applies(judged, k=k):
            values[f"pass@{k}"] = pass_at_k(judged, k=k).value
    values["length"] = drawn.mask.sum(-1).double().mean().item()
    traits = [task.traits(p, text) for p, text in zip(problems, drawn.texts, strict=True)]
    kinds = {key: mean.value for key, mean in trait_means(traits).items()}
    values |= kinds | _information(model, drawn, evaluation)
    kept = spread_out(len(problems), keep)
    rows = [_row(i, step, drawn, (problems[i], verdicts[i], tokens[i], traits[i])) for i in kept]
    return Evaluated(values, rows, tuple(kinds))


INFORMATION = "diversity/mutual_information"


def _information(model: Any, drawn: Sampled, evaluation: Evaluation) -> dict[str, float]:
    """What the first completions of some problems tell of their prompts; nothing where fewer than two are crossed."""
    problems = len(drawn.ids) // evaluation.samples
    first = spread_out(problems, evaluation.crossed)
    if len(first) < 2:
        return {}
    at = torch.tensor(first, device=drawn.ids.device) * evaluation.samples
    found = prompt_information(crossed_logp(model, drawn, at, evaluation.temperature))
    return {
        INFORMATION: found.mutual_information,
        f"{INFORMATION}/bound": found.bound,
        f"{INFORMATION}/retrieval": found.retrieval,
    }


def label_tokens(
    task: Task, problems: Sequence[Problem], tokens: Sequence[list[str]], mask: Bool[Tensor, "B T"]
) -> Int[Tensor, "B T"]:
    """The task's ``Label`` of every chosen token; 0 elsewhere."""
    labels = torch.zeros(mask.shape, dtype=torch.long)
    for i, (problem, row) in enumerate(zip(problems, tokens, strict=True)):
        # by mask: between tokens that the policy chose there may be a tool's
        labels[i, mask[i].cpu()] = torch.tensor([int(label) for label in task.labels(problem, row)], dtype=torch.long)
    return labels.to(mask.device)


def verdict_means(verdicts: Sequence[Verdict]) -> dict[str, Mean]:
    """``accuracy`` over the completions that got a verdict, and the share that got none: it is not the same as wrong.

    >>> found = verdict_means([Verdict("correct"), Verdict("wrong"), Verdict("none", "out of time")])
    >>> found["accuracy"].value, round(found["guard/no_verdict_share"].value, 3)
    (0.5, 0.333)
    """
    judged = [verdict for verdict in verdicts if verdict.outcome != "none"]
    return {
        "accuracy": Mean(sum(verdict.correct for verdict in judged), len(judged)),
        "guard/no_verdict_share": Mean(len(verdicts) - len(judged), len(verdicts)),
    }


def spread_out(num_rows: int, keep: int) -> range:
    """At most ``keep`` row numbers, evenly spaced.

    >>> list(spread_out(10, 3)), list(spread_out(2, 3))
    ([0, 3, 6], [0, 1])
    """
    return range(0, num_rows, max(1, num_rows // keep))[:keep] if keep else range(0)


def trait_means(traits: Sequence[Mapping[str, str | float]], known: Sequence[str] = ()) -> dict[str, Mean]:
    """``diversity/NAME/VALUE`` = share of rows with that value, for words; ``diversity/NAME`` = mean, for numbers.

    ``known`` are keys to report even where no row has them, so that a share that died out reads 0 and not "missing".
    """
    sums: dict[str, float] = dict.fromkeys(known, 0.0)
    for row in traits:
        for name, value in row.items():
            key = f"diversity/{name}/{value}" if isinstance(value, str) else f"diversity/{name}"
            sums[key] = sums.get(key, 0.0) + (1.0 if isinstance(value, str) else float(value))
    return {key: Mean(total, len(traits)) for key, total in sums.items()}


def _row(i: int, step: StepBatch, drawn: Sampled, about: tuple[Problem, Verdict, list[str], Any]) -> dict[str, Any]:
    problem, verdict, tokens, traits = about
    chosen = drawn.mask[i]
    assert step.entropy is not None and step.label is not None and step.group is not None
    return {
        "prompt_id": problem.id,
        "group": int(step.group[i]),
        "sample": i,
        "prompt": problem.prompt,
        "text": drawn.texts[i],
        "tokens": tokens,
        "token_ids": drawn.ids[i][chosen].tolist(),
        "logp_sampler": step.logp[i][chosen].tolist(),
        "entropy": step.entropy[i][chosen].tolist(),
        "label": step.label[i][chosen].tolist(),
        "reward": float(verdict.correct),
        "verdict": verdict.outcome,
        "verdict_reason": verdict.reason,
        "traits": json.dumps(traits),
    }
