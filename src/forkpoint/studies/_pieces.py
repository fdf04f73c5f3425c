"""A study in pieces: one training run each, kept as a small JSON row, so that a study goes on where it was cut off.

A piece is a process of its own: it trains, as ``forkpoint train`` does, evaluates what came out with many samples, and
leaves ``ROWS/NAME.json``. Rows are small enough to commit; the runs themselves are not.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from forkpoint.config import RunConfig
from forkpoint.recipes.side_by_side import ArmFailed, side_by_side
from forkpoint.record.checkpoints import newest
from forkpoint.record.documents import write_bytes
from forkpoint.record.read import Run, open_run

EVALUATED = ("accuracy", "pass@", "entropy/full", "entropy/sampled", "diversity/", "length")
TRAINED = ("entropy/full", "entropy/sampled", "control/", "guard/changed_share", "reward_std", "loss")
"""columns that a row keeps, by how their names begin"""
BY_STEP = ("entropy/full", "entropy/full/fork", "entropy/full/execution")
"""training columns that it keeps of every step"""
DECIDES_NOTHING = ("out", "name", "overwrite", "resume", "keep_checkpoints", "save_every", "record_rollouts")
FINAL_SEED = 30_000
"""of the samples after training; the evaluations on the way draw with another"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """One run of a study, by the name of its row."""

    name: str
    config: RunConfig
    samples: int = 32
    """per held-out problem after training, a multiple of 8"""


def row_of(piece: Piece, rows: Path) -> Row | None:
    """The piece's row; None where there is none, or one of other settings."""
    from forkpoint.methods import build

    path = rows / f"{piece.name}.json"
    if not path.exists():
        return None
    row = json.loads(path.read_text(encoding="utf-8"))
    same = _decides(row["config"]) == _decides(piece.config.model_dump()) and row["final"]["samples"] == piece.samples
    # a default of the method may have changed since
    settings = build(piece.config.method, **piece.config.settings).settings
    return row if same and row["method"]["settings"] == dict(settings) else None


def run_pieces(
    pieces: Sequence[Piece],
    rows: Path,
    *,
    processes: int = 2,
    minutes: float = math.inf,
    tell: Callable[[str], None] = print,
) -> list[str]:
    """Run every piece without a row, ``processes`` at a time, and return what failed, a line for each.

    No piece begins after ``minutes``; those that run are waited for. A piece that fails does not stop the others.
    """
    end = time.monotonic() + 60 * minutes
    waiting = [piece for piece in pieces if row_of(piece, rows) is None]
    running: dict[str, tuple[float, Path, subprocess.Popen[bytes]]] = {}
    failed: list[str] = []
    try:
        while running or (waiting and time.monotonic() < end):
            while waiting and len(running) < processes and time.monotonic() < end:
                piece = waiting.pop(0)
                running[piece.name] = (time.monotonic(), *_start(piece, rows))
            time.sleep(0.2)
            for name, (began, log, process) in [pair for pair in running.items() if pair[1][2].poll() is not None]:
                del running[name]
                if process.returncode != 0:
                    failed.append(f"{name}: {_last_words(log) or process.returncode}")
                took = f"{(time.monotonic() - began) / 60:.1f} min"
                tell(f"{name}: {'failed' if process.returncode else 'done'} after {took}; {len(waiting)} waiting")
    finally:
        for _, _, process in running.values():
            process.terminate()
            process.wait()
    return failed


def _start(piece: Piece, rows: Path) -> "tuple[Path, subprocess.Popen[bytes]]":
    place = piece.config.folder
    place.parent.mkdir(parents=True, exist_ok=True)
    asked, log = (place.with_name(f"{place.name}.piece{ending}") for ending in (".yaml", ".log"))
    asked.write_text(yaml.safe_dump(piece.config.model_dump()))
    command = [sys.executable, "-m", "forkpoint.studies._pieces", str(asked), str(rows / f"{piece.name}.json")]
    with log.open("wb") as output:
        done = subprocess.Popen([*command, str(piece.samples)], stdout=output, stderr=subprocess.STDOUT)
    return log, done


def _last_words(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or [""])[-1][:300]


def fill(
    rows: Path, end: float, makers: Mapping[str, Callable[[], Row]], same: Callable[[Row], bool] = lambda row: True
) -> list[str]:
    """Make ``ROWS/NAME.json`` of every maker whose row is missing or not ``same`` as asked; returns what could not be.

    None begins after ``end`` of the monotonic clock. A ValueError of one does not stop the others.
    """
    missing = []
    for name, make in makers.items():
        path = rows / f"{name}.json"
        if time.monotonic() > end:
            continue
        try:
            if path.exists() and same(json.loads(path.read_text(encoding="utf-8"))):
                continue
            row = make()
        except ValueError as error:
            missing.append(f"{name}: {error}")
            continue
        rows.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(rounded(row)).encode() + b"\n")
        print(f"{name}: done", flush=True)
    return missing


def make_row(config: RunConfig, path: Path, samples: int) -> None:
    """Train, or go on, and write the row. Raises ArmFailed where the training does."""
    began, before = time.time(), _children()
    side_by_side([config], at_once=1)
    about = {"wall_s": round(time.time() - began), "cpu_s": round(_children() - before), "commit": commit()}
    run = open_run(config.folder)
    checkpoint = newest(config.folder / "checkpoints").folder
    if checkpoint is None:
        raise ArmFailed(f"{config.folder}: no complete checkpoint to evaluate; set save_every to the number of steps")
    row = {**about, **read_run(run), "config": config.model_dump(), "final": final(config, checkpoint, samples)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(rounded(row)).encode() + b"\n")


def read_run(run: Run) -> Row:
    """What a run's record says, small: every evaluation, and the training readings as means over stretches.

    ``eval[key]`` has a value per evaluation, at ``eval_steps``; ``train[key]`` the mean over the steps up to each
    evaluation but the first, None where none was finite. ``tokens`` counts prompts and completions up to there.
    """
    rows = run.metrics("eval")
    steps = [int(row["step"]) for row in rows]
    kept = [key for key in run.columns("eval") if key.startswith(EVALUATED)]
    trained = [key for key in run.columns("train") if key.startswith(TRAINED)]
    return {
        "method": run.header["method"],
        "seed": run.header["seed"],
        "environment": run.header["environment"],
        "steps": run.steps,
        "eval_steps": steps,
        "eval": {key: [row.get(key) for row in rows] for key in kept},
        "tokens": _tokens(run, steps[1:]),
        "by_step": {key: run.column(key)[1].tolist() for key in BY_STEP if key in run.columns("train")},
        "train": {key: _stretches(*run.column(key), steps) for key in trained},
    }


def final(config: RunConfig, checkpoint: Path, samples: int) -> Row:
    """How many of ``samples`` completions of each held-out problem are right, and their entropies.

    Drawn eight per problem at a time, so that memory is that of an evaluation on the way.
    """
    import torch

    from forkpoint import catalog
    from forkpoint.policies import load
    from forkpoint.recipes.train import quiet_libraries
    from forkpoint.trainers._evaluation import Evaluation, evaluate

    quiet_libraries()
    if config.threads:
        torch.set_num_threads(config.threads)
    model, tokenizer = load(str(checkpoint.absolute()))
    asked = {"max_tokens": config.max_tokens, "temperature": config.temperature}
    right = np.zeros(config.eval_problems, dtype=int)
    parts = []
    for draw in range(samples // 8):
        evaluation = Evaluation(config.eval_problems, 8, seed=FINAL_SEED + draw, **asked)
        done = evaluate(model, tokenizer, catalog.get("tasks", config.task)(), evaluation, keep=8 * len(right))
        np.add.at(
            right, [row["group"] for row in done.rollouts], [row["verdict"] == "correct" for row in done.rollouts]
        )
        parts.append(done.values)
    keys = [key for key in parts[0] if key.startswith(("entropy/", "diversity/", "length"))]
    means = {key: float(np.mean([part.get(key, 0.0) for part in parts])) for key in keys}
    return {"samples": samples, "correct": right.tolist(), **means}


def commit() -> str:
    """The commit of the working directory, with ``+`` where its source differs; empty outside a checkout."""
    # not every file: a study's own rows are tracked, and change as it goes on
    asked = (["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--", "src"])
    try:
        head, changes = (subprocess.run(words, capture_output=True, text=True).stdout.strip() for words in asked)
    except OSError:
        return ""
    return head + ("+" if head and changes else "")


def _decides(settings: Mapping[str, Any]) -> Row:
    # a field that is newer than the row had its default then
    whole = RunConfig().model_dump() | dict(settings)
    return {key: value for key, value in whole.items() if key not in DECIDES_NOTHING}


def _tokens(run: Run, steps: Sequence[int]) -> list[float]:
    # a log that the trainer writes at its very end is not the step's, so the count before stands
    at, counts = run.column("num_tokens")
    return [float(counts[at <= step].max()) for step in steps]


def _stretches(steps: Any, values: Any, ends: Sequence[int]) -> list[float | None]:
    inside = [values[(steps > first) & (steps <= last) & np.isfinite(values)] for first, last in pairwise(ends)]
    return [float(part.mean()) if part.size else None for part in inside]


def rounded(value: Any) -> Any:
    """Six digits are more than any reading holds; a number that is not finite has no place in JSON."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def _children() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def finite(values: Sequence[float | None]) -> Iterator[float]:
    """The values that are there and finite."""
    return (value for value in values if value is not None and math.isfinite(value))


if __name__ == "__main__":
    # as an exception, so that the training under it is ended too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config, row, samples = sys.argv[1:]
    with suppress(KeyboardInterrupt):
        try:
            make_row(RunConfig.model_validate(yaml.safe_load(Path(config).read_text())), Path(row), int(samples))
        except (ArmFailed, ValueError) as error:
            sys.exit(str(error))
