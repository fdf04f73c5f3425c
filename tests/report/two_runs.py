"""Two runs as a short demo leaves them: plain GRPO, which collapses, beside a run that manages its entropy."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from forkpoint.record.read import Run, open_run
from forkpoint.record.write import RunWriter

STEPS = range(0, 161, 20)
"""steps of the evaluations; the values below are read at these"""
PLAIN = {
    "entropy/full": [0.290, 0.262, 0.231, 0.208, 0.181, 0.160, 0.139, 0.120, 0.100],
    "accuracy": [0.461, 0.502, 0.541, 0.570, 0.603, 0.628, 0.650, 0.671, 0.694],
    "pass@8": [0.940, 0.930, 0.905, 0.890, 0.870, 0.850, 0.825, 0.800, 0.775],
    "infix": [0.45, 0.58, 0.72, 0.83, 0.90, 0.94, 0.96, 0.97, 0.98],
    "tries": [2.9, 2.8, 2.6, 2.4, 2.2, 2.0, 1.9, 1.8, 1.7],
}
MANAGED = {
    "entropy/full": [0.290, 0.288, 0.281, 0.276, 0.270, 0.262, 0.255, 0.250, 0.245],
    "accuracy": [0.461, 0.498, 0.533, 0.561, 0.590, 0.612, 0.633, 0.650, 0.668],
    "pass@8": [0.940, 0.938, 0.931, 0.925, 0.920, 0.914, 0.910, 0.904, 0.900],
    "infix": [0.45, 0.47, 0.49, 0.50, 0.52, 0.53, 0.54, 0.55, 0.56],
    "tries": [2.9, 2.9, 2.8, 2.8, 2.7, 2.7, 2.6, 2.6, 2.5],
}
SCALES = {"": 1.0, "/fork": 2.4, "/execution": 0.2, "/planning": 1.5, "/format": 3.0}
"""entropy by role, in multiples of the mean over all tokens"""
DEFINITION = {
    "estimator": "full softmax",
    "reduction": "token mean",
    "unit": "nats",
    "temperature": "as sampled",
    "token_set": "completion tokens the policy chose",
}
SHARE = DEFINITION | {"estimator": "verifier", "reduction": "mean over answers", "unit": "share"}
DEFINITIONS = {
    "entropy/full": DEFINITION,
    "entropy/full_sequence_mean": DEFINITION | {"reduction": "sequence mean"},
    "entropy/sampled": DEFINITION | {"estimator": "-log p of the sampled token"},
    "accuracy": SHARE,
    "reward": SHARE | {"unit": "reward"},
    **{f"pass@{k}": SHARE | {"estimator": "unbiased pass@k"} for k in (1, 2, 4, 8)},
    "diversity/format": SHARE | {"estimator": "format of the thinking"},
    "diversity/tries": SHARE | {"estimator": "count of tries", "unit": "tries"},
}


def eval_rows(curve: dict[str, list[float]]) -> list[dict[str, Any]]:
    """What an evaluation records every 20 steps."""
    rows: list[dict[str, Any]] = []
    for index, step in enumerate(STEPS):
        at = {key: values[index] for key, values in curve.items()}
        accuracy, best, entropy = at["accuracy"], at["pass@8"], at["entropy/full"]
        row = {"step": step, "accuracy": accuracy, "length": 58.0, "diversity/tries": at["tries"]}
        row |= {f"pass@{k}": accuracy + (best - accuracy) * share for k, share in ((1, 0), (2, 0.45), (4, 0.8), (8, 1))}
        row |= {f"entropy/full{role}": entropy * scale for role, scale in SCALES.items()}
        row |= {"entropy/sampled": entropy * 0.98, "entropy/full_sequence_mean": entropy * 1.07}
        rest = 1 - at["infix"]
        row |= {"diversity/format/infix": at["infix"], "diversity/format/words": rest * 0.6}
        rows.append(row | {"diversity/format/postfix": rest * 0.4})
    return rows


def train_rows(curve: dict[str, list[float]], seed: int) -> list[dict[str, Any]]:
    """Every optimizer step: the evaluations' curve, with noise."""
    rng = Random(seed)
    rows: list[dict[str, Any]] = []
    for step in range(1, 161):
        left, part = divmod(step, 20)
        along = [
            curve[key][left] + (curve[key][min(left + 1, 8)] - curve[key][left]) * part / 20
            for key in ("accuracy", "entropy/full")
        ]
        row = {"step": step, "reward": along[0] + rng.gauss(0, 0.04), "entropy/full": along[1] + rng.gauss(0, 0.01)}
        rows.append(row | {"loss": rng.gauss(0, 0.02), "grad_norm": 0.3 + 0.1 * rng.random()})
    return rows


WORDS = "try 7 + 4 = 11 , 11 + 9 = 20 no try 9 * 7 = 63 , 63 - 4 = 59 yes answer 9 * 7 = 63 , 63 - 4 = 59"
LABELS = "3 1 4 1 2 2 2 2 1 1 2 2 3 3 1 4 1 2 2 2 2 1 1 2 2 3 2 2 2 2 2 2 2 2 2 2 2 2"


def rollout_rows(curve: dict[str, list[float]], seed: int) -> list[dict[str, Any]]:
    """Six answers at each evaluation, right ones and wrong ones."""
    rng = Random(seed)
    return [
        _rollout(step, index, curve["entropy/full"][at], rng) for at, step in enumerate(STEPS) for index in range(6)
    ]


def _rollout(step: int, index: int, entropy: float, rng: Random) -> dict[str, Any]:
    labels = [int(label) for label in LABELS.split()]
    correct = index % 2 == 0
    entropies = [rng.expovariate(1 / (entropy * (0.1 if label == 2 else 4.0))) for label in labels]
    return {
        "kind": "eval",
        "step": step,
        "prompt": "4 7 9 target 59 think",
        "text": WORDS,
        "tokens": WORDS.split(),
        "entropy": entropies,
        "logp_sampler": [-value * rng.random() for value in entropies],
        "label": labels,
        "weight": [1.0] * len(labels),
        "mark": [value > 0.8 for value in entropies],
        "reward": float(correct),
        "advantage": 0.9 if correct else -1.1,
        "verdict": "correct" if correct else "wrong",
        "verdict_reason": "" if correct else "63 - 4 is not 58",
        "traits": '{"format": "infix", "tries": 2}',
    }


def write_run(
    folder: Path,
    name: str,
    curve: dict[str, list[float]],
    *,
    rollouts: Sequence[dict[str, Any]] | None = None,
    kinds: Sequence[str] = ("train", "eval"),
    without: Sequence[str] = (),
    last_step: int = 160,
) -> Run:
    """A run on disk, through the writer that real runs use; ``without`` leaves columns out, ``last_step`` cuts it."""
    managed = curve is MANAGED
    method = {"name": "fork_thermostat" if managed else "grpo", "settings": {"fork": 0.6} if managed else {}}
    writer = RunWriter.create(
        folder,
        name=name,
        config={"learning_rate": 2e-4, "steps": 160, "method": method["name"]},
        method=method | {"intervenes": managed},
        task="countdown",
        seed=0,
        definitions=DEFINITIONS,
    )
    readings = {"train": train_rows(curve, seed=managed), "eval": eval_rows(curve)}
    for kind in kinds:
        for row in (row for row in readings[kind] if row["step"] <= last_step):
            kept = {key: value for key, value in row.items() if key not in ("step", *without)}
            writer.metrics(kind, row["step"], kept)
    writer.rollouts(rollout_rows(curve, seed=managed) if rollouts is None else list(rollouts))
    writer.close()
    return open_run(folder)
