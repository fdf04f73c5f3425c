"""Are collapse in training and inflation at inference two failures, each with levers of its own?

    python -m forkpoint.studies.two_failures                 # makes what has no row yet, and writes the page
    python -m forkpoint.studies.two_failures --minutes 30    # begins nothing after half an hour; a second call goes on
    python -m forkpoint.studies.two_failures --write         # docs/studies/two-failures.md from the rows there are

``forkpoint failures`` on three policies of ``forkpoint.studies.inference`` and its problems: before RL, after GRPO, and
with entropies held by ``fork_thermostat``, a training for each seed. That fixing one failure leaves the other is a
synthesis of two papers (arXiv:2505.22617, arXiv:2506.04210) and was tested by neither.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from forkpoint.config import Setting
from forkpoint.probes import Samples
from forkpoint.probes.answer_entropy import answer_entropy
from forkpoint.recipes._failures_summary import AT_INFERENCE, changed_share, cut_share, right, rights
from forkpoint.recipes.decode import as_json
from forkpoint.recipes.failures import Arm, Failures, failures
from forkpoint.recipes.side_by_side import ArmFailed
from forkpoint.studies._inference_policies import TASK, make, policy_of, weights_of
from forkpoint.studies._pieces import Row, commit, fill
from forkpoint.studies._two_failures_page import write_page
from forkpoint.studies.inference import PROBLEMS, SEEDS

MODELS = ("start", "grpo", "kept")
SETTINGS: Mapping[str, Setting] = {"window": 8.0}
"""a step of thoughts that have twenty tokens"""
ASKED = Failures(("tiny",) * 3, TASK, waits=(1, 2, 3), long=2, problems=PROBLEMS, k=32, paths=8, settings=SETTINGS)
"""chosen on 32 problems of the shipped policy; two waits left some answers right there, four would pass its context"""
ROWS = Path("benchmarks/results/study-two-failures")
RUNS = Path("runs/study-two-failures")
PAGE = Path("docs/studies/two-failures.md")


def two_failures(
    seeds: int = SEEDS, minutes: float = math.inf, rows: Path = ROWS, out: Path = RUNS, *, asked: Failures = ASKED
) -> list[str]:
    """Measure the seeds without a row in ``rows``. Returns what is missing, and why.

    Makes the policies first; raises ArmFailed where a training fails.
    """
    end = time.monotonic() + 60 * minutes
    make(MODELS, seeds, end)
    makers = {f"seed-{seed}": partial(_row, replace(asked, seed=seed), out) for seed in range(seeds)}

    def same(row: Row) -> bool:
        return row["asked"] == _asked(asked) and row.get("weights") == _weights(_models(row["seed"]))

    return fill(rows, end, makers, same)


def _models(seed: int) -> tuple[str, ...]:
    return tuple(policy_of(arm, seed) for arm in MODELS)


def _weights(models: Sequence[str]) -> dict[str, str]:
    return {arm: weights_of(model) for arm, model in zip(MODELS, models, strict=True)}


def _row(asked: Failures, out: Path) -> Row:
    return make_row(replace(asked, models=_models(asked.seed)), out)


def make_row(asked: Failures, out: Path) -> Row:
    weights = _weights(asked.models)
    arms = failures(asked, out / "-".join([f"seed-{asked.seed}", *weights.values()]))
    return {
        "seed": asked.seed,
        "commit": commit(),
        "weights": weights,
        "asked": _asked(asked),
        "arms": {arm.name: _of(arm) for arm in arms},
    }


def _of(arm: Arm) -> Row:
    sizes = [1 << power for power in range(arm.samples.most.bit_length())]
    ways, found = {"free": arm.free, **arm.forced}, rights(arm, arm.free.most, arm.samples.most)
    return {
        "roles": dict(arm.roles),
        "threshold": arm.threshold,
        "rights": {key: _plain(values) for key, values in found._asdict().items()},
        "passes": {str(k): _plain(right(arm.samples, k)) for k in sizes},
        "spread": {way: _spread(samples, arm.most[way]) for way, samples in ways.items()},
        "stopped": changed_share(arm.stop, arm.free),
        "tokens": {
            way: float(np.mean([n for one in getattr(arm, way).problems for n in one.lengths])) for way in AT_INFERENCE
        },
    }


def _asked(asked: Failures) -> Row:
    """What decides a row, but for its models and seed."""
    return {key: value for key, value in as_json(asked).items() if key not in ("models", "seed")}


def _spread(samples: Samples, most: int) -> Row:
    found = answer_entropy(samples).per_problem
    thinking = [float(trait["thinking"]) for one in samples.problems for trait in one.traits or ()]
    accuracy = _plain(right(samples))
    columns = {key: list(found[key]) for key in found}
    return {"thinking": float(np.mean(thinking)), "cut": cut_share(samples, most), "accuracy": accuracy, **columns}


def _tokens(samples: Samples) -> float:
    return float(np.mean([length for one in samples.problems for length in one.lengths]))


def _plain(values: Any) -> list[float]:
    return np.asarray(values).tolist()


def collected(rows: Path = ROWS) -> dict[int, Row]:
    """Seed -> row, of the rows there are."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(rows.glob("seed-*.json"))]
    return {row["seed"]: row for row in found}


if __name__ == "__main__":
    import sys

    import tyro

    def main(
        seeds: int = SEEDS,
        minutes: float = math.inf,
        rows: Path = ROWS,
        out: Path = RUNS,
        page: Path = PAGE,
        write: bool = False,
    ) -> None:
        """Measure what has no row in ``rows`` yet, and write ``page``; with ``write`` only that."""
        try:
            missing = [] if write else two_failures(seeds, minutes, rows, out)
        except ArmFailed as error:
            missing = [str(error)]
        print(write_page(page, collected(rows)))
        sys.exit("\n".join(missing) if missing else 0)

    tyro.cli(main)
