"""What a laptop without torch can do: everything but training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_layers import HEAVY

SCRIPT = """
import contextlib, io, json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

BLOCKED = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Blocked())

from forkpoint.cli import main
from forkpoint.record import RunWriter

grpo = {"name": "grpo", "settings": {}, "intervenes": False}
with RunWriter.create("runs/one", name="one", config={}, method=grpo, task="countdown", seed=0, definitions={}) as run:
    for step in range(0, 240, 20):
        entropy = 1.0 - step / 260
        values = {"entropy/full": entropy, "entropy/full_sequence_mean": entropy}
        values["accuracy"] = 0.9 - 0.2 * 2.718**entropy
        run.metrics("eval", step, values)
        run.metrics("train", step + 1, values)

results = {}
for line in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line.split())
    results[line] = [code, out.getvalue(), err.getvalue()]
json.dump(results, open("results.json", "w"))
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
"""

WORKS = (
    "--help",
    "--version",
    "ls",
    "ls --json",
    "methods",
    "methods kl_cov",
    "methods --json",
    "methods kl_cov --tokens 9 --settings share=0.1",
    "cite grpo runs/one",
)
READS = ("forecast runs/one", "forecast runs/one --json", "report runs/one", "doctor runs/one", "train --print-config")
NEEDS_TORCH = ("train", "train --method kl_cov", "probe tiny")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Every command line in one process in which the heavy packages cannot be imported."""
    folder = tmp_path_factory.mktemp("laptop")
    lines = json.dumps([*WORKS, *READS, *NEEDS_TORCH])
    command = [sys.executable, "-c", SCRIPT, json.dumps(sorted(HEAVY)), lines]
    source = str(Path(__file__).parents[1] / "src")
    subprocess.run(command, cwd=folder, check=True, env={"PYTHONPATH": source, "PATH": ""}, timeout=60)
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("line", WORKS + READS)
def test_works_without_torch(line: str, results: dict[str, tuple[int, str, str]]):
    code, out, err = results[line]
    assert (code, bool(out)) == (0, True), err


@pytest.mark.parametrize("line", NEEDS_TORCH)
def test_training_says_what_is_missing_and_how_to_get_it(line: str, results: dict[str, tuple[int, str, str]]):
    code, _, err = results[line]
    assert code == 2
    assert err.count("\n") == 1
    assert "which is not installed; pip install 'forkpoint[train]'" in err
