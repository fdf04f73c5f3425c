"""The reference is what the docstrings say today."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from forkpoint import catalog
from forkpoint.methods import build

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

from gradient_figure import RATIOS, corners, figure, pull  # noqa: E402

every_method = pytest.mark.parametrize("name", catalog.names("methods"))


def test_the_reference_is_current():
    done = subprocess.run([sys.executable, "docs/build.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_examples_are_short():
    for path in sorted((ROOT / "examples").glob("0*.py")):
        assert len(path.read_text().splitlines()) <= 60, path.name


def test_the_readme_names_every_method():
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{path.stem}`" in readme for path in (ROOT / "src/forkpoint/methods").glob("[!_]*.py"))


# ---- the figure on each method's page


@pytest.mark.parametrize(
    ("name", "sign", "marked", "by_hand"),
    [
        # -r A, and 0 where the clip has stopped the token
        ("grpo", 1, False, {0.5: -0.5, 1.0: -1.0, 1.5: 0.0}),
        ("grpo", -1, False, {0.5: 0.0, 1.0: 1.0, 1.5: 1.5}),
        ("dapo", 1, False, {1.25: -1.25, 1.3: 0.0}),
        ("kl_cov", 1, False, {0.5: -0.5, 1.5: -1.5}),
        # the penalty |log r| adds the sign of log r
        ("kl_cov", 1, True, {0.5: -1.5, 1.5: -0.5}),
        ("kl_cov", -1, True, {0.5: -0.5, 1.5: 2.5}),
    ],
)
def test_the_figure_draws_the_gradient_of_the_loss(name: str, sign: int, marked: bool, by_hand: dict[float, float]):
    drawn = dict(pull(build(name), sign, marked=marked))
    assert {ratio: drawn[ratio] for ratio in by_hand} == pytest.approx(by_hand)


@every_method
def test_every_figure_is_a_self_contained_picture_with_the_same_bytes_each_time(name: str):
    text = figure(build(name))
    assert text == figure(build(name)) and len(text) < 40_000
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg") and "A = +1" in text and "A = -1" in text
    assert "href" not in text and "<script" not in text and "nan" not in text
    assert len(root.findall("{*}polyline")) >= 2


def test_dropping_the_middle_of_straight_pieces_leaves_the_line_where_it_was():
    import numpy as np

    points = pull(build("dapo"), 1, marked=False)
    kept = corners(points)
    assert len(kept) < 10 < len(points)
    assert np.interp(RATIOS, *zip(*kept, strict=True)) == pytest.approx([y for _, y in points], abs=1e-9)


@pytest.fixture
def reference() -> ModuleType:
    """docs/build.py; by its path, since "build" is also a package of the index."""
    spec = spec_from_file_location("reference", ROOT / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_a_page_that_is_not_current_is_named(reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a copy: every file is written, a changed, a missing and a left-over one are seen, and writing mends them."""
    kept = {"credit.md": "a", "methods/grpo.md": "b", "methods/grpo.svg": "c"}
    monkeypatch.setattr(reference, "pages", lambda: iter(kept.items()))
    monkeypatch.setattr(reference, "PAGES", tmp_path)
    assert reference.stale() == list(kept)
    reference.write(tmp_path)
    assert reference.stale() == []
    (tmp_path / "methods" / "gone.svg").write_text("")
    (tmp_path / "methods" / "grpo.svg").write_text("other")
    (tmp_path / "credit.md").unlink()
    assert reference.stale() == ["credit.md", "methods/grpo.svg", "methods/gone.svg"]
    reference.write(tmp_path)
    assert reference.stale() == []


def test_a_method_s_page_holds_its_docstring_its_parts_its_figure_and_its_claims(reference: Any):
    text = reference.method_page("kl_cov")
    assert catalog.docstring("methods", "kl_cov") in text and "](kl_cov.svg)" in text
    assert "| credit rules | kl_covariance |" in text and "| exact | KL-Cov:" in text
    assert "penalizes \\|log ratio\\|" not in text, "notes are not shown"
    assert reference._table(("a",), [["|x|"]]) == "| a |\n| --- |\n| \\|x\\| |", "a bar does not end its cell"
    assert "[kl_cov](methods/kl_cov.md)" in reference.index()
