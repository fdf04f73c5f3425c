"""Rows with everything in them that a file format could trip over, and a look at all that a reader sees."""

import math
from pathlib import Path
from typing import Any

from forkpoint.record import RunWriter, open_run

HOSTILE = "nan </script> \u2028 \x00 \x1b[2J naïve 🦜 \r\n\n"


def write_steps(writer: RunWriter, steps: range) -> None:
    for step in steps:
        writer.metrics("train", step, reading(step))
        writer.rollouts([rollout(step, sample) for sample in range(2)])


def reading(step: int) -> dict[str, float]:
    odd = {"entropy/full": math.nan, "kl/k3": math.inf, "loss": -math.inf} if step % 2 else {"loss": 0.1 * step}
    return {"reward": step / 3, **odd}


def rollout(step: int, sample: int) -> dict[str, Any]:
    return {
        "kind": "train",
        "step": step,
        "group": 2**40 + step,
        "sample": sample,
        "text": HOSTILE + str(step),
        "tokens": ["7", "nan", "\n"],
        "token_ids": [1, 2, 3],
        "entropy": [0.5, math.nan, math.inf],
        "label": [0, 1, 4],
        "mark": [True, False, False],
        "reward": -math.inf,
        "verdict": "wrong",
    }


def everything(path: Path) -> str:
    """All that a reader can see, as text, so that nan equals nan."""
    run = open_run(path)
    return repr((run.header, run.status, run.metrics(), run.rollouts(), run.torn_lines))


def kill(writer: RunWriter) -> None:
    """Leave the run as SIGKILL does: nothing is written, and the system takes back what the process held."""
    writer._store.store.close()
    writer._lock._release()
