"""Measure a policy before any RL, and write its card: the numbers by which policy and task are frozen.

    python -m forkpoint.recipes.policy_card --model src/forkpoint/policies/tiny

The criteria look at the policy before RL only; whatever RL then shows is reported.
"""

import json
from pathlib import Path

from forkpoint.policies import load
from forkpoint.tasks import task_of
from forkpoint.trainers._evaluation import Evaluation, evaluate

CRITERIA: tuple[tuple[str, float, float], ...] = (
    ("accuracy", 0.35, 0.60),
    ("pass@8", 0.85, 0.98),
    ("entropy/full/execution", 0.0, 0.05),
    ("entropy/full/fork", 0.5, 2.0),
    ("entropy/share_above", 0.10, 0.30),
)
"""reading, least, most: headroom, breadth, sound arithmetic, living forks, and forks as a minority of tokens"""

SHOWN = ("pass@1", "pass@2", "pass@4", "pass@16", "entropy/full", "entropy/full_sequence_mean", "length")


def measure_policy(model: str, task: str = "countdown") -> dict[str, float]:
    """Readings over 256 held-out problems with 16 samples each, at temperature 1."""
    network, tokenizer = load(model)
    evaluation = Evaluation(problems=256, samples=16, seed=1, crossed=0)
    return evaluate(network, tokenizer, task_of(task), evaluation, keep=0).values


def card(values: dict[str, float], recipe: dict[str, object], parameters: int) -> str:
    """The card as Markdown. Raises ValueError naming the first criterion that the policy misses."""
    for key, least, most in CRITERIA:
        if not least <= values[key] <= most:
            raise ValueError(f"{key} is {values[key]:.3f}, outside {least} to {most}: this policy is not to be frozen")
    traits = sorted(key for key in values if key.startswith("diversity/"))
    rows = [f"| {key} | {values[key]:.3f} | {least} to {most} |" for key, least, most in CRITERIA]
    rows += [f"| {key} | {values[key]:.3f} | |" for key in (*SHOWN, *traits)]
    settings = ", ".join(f"{key} {value}" for key, value in recipe.items())
    return _TEXT.format(parameters=parameters, rows="\n".join(rows), settings=settings)


_TEXT = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# The tiny policy

A Llama-shaped causal language model of {parameters:,} parameters with one token per word. It solves Countdown with
three numbers by thinking in tries, in one of three formats, and ends with a marked answer or stops; it also completes
brackets (Dyck). Trained from nothing on text that forkpoint's tasks write, by `make policy`; no other data, no RL.

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained(forkpoint.policies.folder("tiny"))

Prompt: `4 7 9 target 59 think`. It knows nothing else and is meant for studying training, not for use.

Measured before any RL on 256 held-out problems with 16 samples each, temperature 1, full softmax
(`python -m forkpoint.recipes.policy_card`); policy and task were frozen by the criteria in the last column.

| reading | value | criterion |
|---|---|---|
{rows}

Recipe: {settings}.
"""


if __name__ == "__main__":
    import tyro

    def main(model: Path = Path("src/forkpoint/policies/tiny")) -> None:
        network, _ = load(str(model))
        parameters = sum(weight.numel() for weight in network.parameters())
        recipe = json.loads((model / "recipe.json").read_text())
        text = card(measure_policy(str(model)), recipe, parameters)
        (model / "README.md").write_text(text)
        print(text)

    tyro.cli(main)
