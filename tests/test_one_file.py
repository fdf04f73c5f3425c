"""One new file is enough: a method, a metric and a task appear in the command line, the laws and the docs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

METHOD = '''"""Half-strength GRPO, to prove that one file is enough (arXiv:2402.03300)."""

from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip

EXEMPT = {"needs_off_policy": "the same objective as grpo, which is meant to act on-policy"}


@method
def half_clip(*, clip_low: float = 0.1, clip_high: float = 0.1) -> Method:
    """Clip at half the usual distance.

    >>> half_clip().settings["clip_low"]
    0.1
    """
    return Method((), clip(clip_low=clip_low, clip_high=clip_high), sets=("epsilon", "epsilon_high"))
'''

METRIC = '''"""Mean log-prob of the chosen tokens, to prove that one file is enough (a definition)."""

from forkpoint.batch import Definition, Mean, StepBatch

ABOUT = Definition(key="guard/logp_mean", estimator="exact", reduction="token_mean", unit="nats")


def logp_mean(step: StepBatch) -> Mean:
    """Sum and count over the mask."""
    chosen = step.logp[step.mask].detach().double()
    return Mean(float(chosen.sum()), float(chosen.numel()))
'''

TASK = '''"""Add two numbers, to prove that one file is enough (a definition)."""

from dataclasses import dataclass
from random import Random

from forkpoint.labels import Label
from forkpoint.tasks._task import Problem, Task, Verdict


def adding() -> "Adding":
    return Adding()


@dataclass(frozen=True)
class Adding(Task):
    name = "adding"
    chance = 0.1
    vocabulary = (*map(str, range(200)), "plus", "small", "large", "or", ",")

    def problem(self, a, b):
        return Problem(f"{a} {b}", f"{a} plus {b}", {"sum": a + b})

    def read(self, prompt):
        a, word, b = (prompt.split() + ["", "", ""])[:3]
        if word != "plus" or not (a.isdecimal() and b.isdecimal()):
            raise ValueError(f"adding: prompt {prompt!r} is not 'A plus B'")
        return self.problem(int(a), int(b))

    def problems(self, split, seed=0):
        rng = Random(f"{split} {seed}")
        while True:
            a, b = rng.randrange(100), rng.randrange(100)
            if ((a * 7 + b) % 10 == 0) == (split == "test"):
                yield self.problem(a, b)

    def score(self, problem, text):
        right = text.split() in (["small", str(problem.data["sum"])], ["large", str(problem.data["sum"])])
        return Verdict("correct") if right else Verdict("wrong", "not the sum")

    def solution(self, problem):
        return f"small {problem.data['sum']}"

    def demonstrate(self, problem, rng):
        return f"{rng.choice(['small', 'large'])} {problem.data['sum'] + (rng.random() < 0.3)}"

    def labels(self, problem, tokens):
        return [Label.FORK if i == 0 and t in ("small", "large") else Label.EXECUTION for i, t in enumerate(tokens)]

    def traits(self, problem, text):
        return {"format": "sum"}
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package and its laws, copied, with one new file in each of three folders."""
    home = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", home / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "laws", home / "tests" / "laws")
    for name in ("conftest.py", "__init__.py"):
        shutil.copy(ROOT / "tests" / name, home / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", home / "pyproject.toml")
    (home / "docs").mkdir()
    for name in ("build.py", "gradient_figure.py"):
        shutil.copy(ROOT / "docs" / name, home / "docs" / name)
    for folder, name, text in (
        ("methods", "half_clip", METHOD), ("metrics", "logp_mean", METRIC), ("tasks", "adding", TASK)
    ):  # fmt: skip
        (home / "src" / "forkpoint" / folder / f"{name}.py").write_text(text)
    return home


def run(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(home / "src"), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *words], cwd=home, env=environment, capture_output=True, text=True)


def test_the_command_line_has_them(copy):
    listed = run(copy, "-m", "forkpoint", "methods")
    assert "half_clip" in listed.stdout and "Half-strength GRPO" in listed.stdout and "2402.03300" in listed.stdout
    assert "0.1" in run(copy, "-m", "forkpoint", "methods", "half_clip", "--json").stdout
    assert "deepseekmath" in run(copy, "-m", "forkpoint", "cite", "half_clip").stdout.lower()
    resolved = run(copy, "-m", "forkpoint", "train", "--method", "half_clip", "--task", "adding", "--print-config")
    assert "method: half_clip" in resolved.stdout and "task: adding" in resolved.stdout, resolved.stderr


def test_the_docs_have_them(copy):
    assert run(copy, "docs/build.py").returncode == 0
    reference = copy / "docs" / "reference"
    for folder, name in (("metrics", "logp_mean"), ("tasks", "adding")):
        assert f"## {name}\n" in (reference / f"{folder}.md").read_text()
    assert (reference / "methods" / "half_clip.md").read_text().startswith("# half_clip\n")
    assert (reference / "methods" / "half_clip.svg").exists() and "half_clip" in (reference / "methods.md").read_text()


def test_the_laws_hold_them_to_account(copy):
    chosen = "half_clip or logp_mean or Adding"
    done = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/laws", "-k", chosen)
    assert done.returncode == 0, done.stdout[-3000:]
    verbose = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "tests/laws", "-k", chosen)
    for name in ("half_clip", "logp_mean", "Adding"):
        assert verbose.stdout.count(name) >= 5, name


def test_a_faulty_one_is_caught_by_the_laws(copy):
    """The negative control: a metric that counts masked tokens fails."""
    place = copy / "src" / "forkpoint" / "metrics" / "logp_mean.py"
    place.write_text(METRIC.replace("[step.mask]", ".flatten()"))
    try:
        assert (
            run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/laws", "-k", "logp_mean").returncode == 1
        )
    finally:
        place.write_text(METRIC)


def test_measuring_and_training_take_them(copy):
    code = """
import torch
from forkpoint.batch import StepBatch
from forkpoint.methods import build
from forkpoint.metrics import definitions, measure
step = StepBatch(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), torch.ones(2))
key = "guard/logp_mean"
print(measure(step)[key].value, definitions()[key].unit, build("half_clip"))
"""
    assert run(copy, "-c", code).stdout.split() == ["0.0", "nats", "half_clip(clip_low=0.1,", "clip_high=0.1)"]
