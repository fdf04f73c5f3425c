"""The study of the two failures: a row is made once, and the page answers from the rows alone."""

import json
from dataclasses import replace

import numpy as np

from forkpoint.policies import TINY
from forkpoint.studies import two_failures as study
from forkpoint.studies._two_failures_page import write_page

SMALL = replace(
    study.ASKED, problems=4, k=4, paths=4, waits=(1,), long=1, settings={"stop.threshold": 0.1, "window": 8.0}
)


def test_a_row_is_made_once_and_the_page_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "policy_of", lambda arm, seed: TINY)
    places = {"seeds": 1, "rows": tmp_path / "rows", "out": tmp_path / "runs", "asked": SMALL}
    assert study.two_failures(**places) == []
    row = json.loads((tmp_path / "rows/seed-0.json").read_text())
    assert row["arms"]["before"] == row["arms"]["kept"], "one policy, the same draws"
    before = row["arms"]["before"]
    assert list(before["spread"]) == ["free", "wait-1"] and list(before["passes"]) == ["1", "2", "4"]
    assert np.isclose(np.mean(before["spread"]["free"]["accuracy"]), np.mean(before["rights"]["free"]))
    made = (tmp_path / "rows/seed-0.json").stat().st_mtime_ns
    assert study.two_failures(**places) == [] and (tmp_path / "rows/seed-0.json").stat().st_mtime_ns == made
    text = write_page(tmp_path / "page.md", study.collected(tmp_path / "rows")).read_text()
    assert "change what long thinking costs? | +0.000 [+0.000, +0.000] | not to be told" in text
    assert (tmp_path / "page-accuracy.svg").exists() and (tmp_path / "page-answer-entropy.svg").exists()


def test_a_policy_that_is_not_there_is_told_with_what_makes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (missing,) = study.two_failures(1, rows=tmp_path / "rows", out=tmp_path / "runs", asked=SMALL)
    assert missing.startswith("seed-0: ") and "studies.methods --only grpo makes it" in missing


def test_without_rows_the_page_says_how_to_make_them(tmp_path):
    assert "python -m forkpoint.studies.two_failures" in write_page(tmp_path / "page.md", {}).read_text()
