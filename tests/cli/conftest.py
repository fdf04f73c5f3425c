"""Command lines run in this process, and runs for them to read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forkpoint.cli import main
from forkpoint.record import RunWriter

SRC = str(Path(__file__).parents[2] / "src")
GRPO = {"name": "grpo", "settings": {}, "intervenes": False}
KL_COV = {"name": "kl_cov", "settings": {"share": 0.02}, "intervenes": True}


class Result:
    """Exit code and both streams of one command line."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def error(self) -> str:
        """The one line that an error is."""
        assert self.err.startswith("forkpoint: error: ") and self.err.count("\n") == 1, self.err
        return self.err.removeprefix("forkpoint: error: ").strip()


Forkpoint = Callable[..., Result]


@pytest.fixture
def forkpoint_(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Forkpoint:
    """Runs a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Result:
        capsys.readouterr()
        code = main(list(words))
        return Result(code, *capsys.readouterr())

    return call


def write_run(path: Path, *, method: dict[str, Any] = GRPO, last_entropy: float = 0.2, points: int = 13) -> Path:
    """A finished run that obeys R = 0.9 - 0.3 exp(H), up to a thousandth of a point of noise."""
    noise = np.random.default_rng(0).normal(0, 1e-5, points)
    with RunWriter.create(
        path, name="a run", config={}, method=method, task="countdown", seed=0, definitions={}
    ) as run:
        for index, entropy in enumerate(np.linspace(0.9, last_entropy, points)):
            accuracy = 0.9 - 0.3 * np.exp(entropy) + noise[index]
            values = {"entropy/full": float(entropy), "entropy/full_sequence_mean": float(entropy)}
            run.metrics("train", 20 * index + 1, values)
            run.metrics("eval", 20 * index, {**values, "accuracy": float(accuracy)})
    return path
