"""The reference is what the docstrings say today."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_is_current():
    done = subprocess.run([sys.executable, "docs/build.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_examples_are_short():
    for path in sorted((ROOT / "examples").glob("0*.py")):
        assert len(path.read_text().splitlines()) <= 60, path.name


def test_the_readme_names_every_method():
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{path.stem}`" in readme for path in (ROOT / "src/forkpoint/methods").glob("[!_]*.py"))
