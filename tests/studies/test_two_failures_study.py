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
    monkeypatch.setattr(study, "make", lambda arms, seeds, end: None)
    places = {"seeds": 1, "rows": tmp_path / "rows", "out": tmp_path / "runs", "asked": SMALL}
    assert study.two_failures(**places) == []
    row = json.loads((tmp_path / "rows/seed-0.json").read_text())
    assert row["arms"]["before"] == row["arms"]["kept"], "one policy, the same draws"
    before = row["arms"]["before"]
    assert list(before["spread"]) == ["free", "wait-1"] and list(before["passes"]) == ["1", "2", "4"]
    assert np.isclose(np.mean(before["spread"]["free"]["accuracy"]), np.mean(before["rights"]["free"]))
    made = (tmp_path / "rows/seed-0.json").stat().st_mtime_ns
    assert study.two_failures(**places) == [] and (tmp_path / "rows/seed-0.json").stat().st_mtime_ns == made
    other = row | {"weights": row["weights"] | {"kept": "other"}}
    (tmp_path / "rows/seed-0.json").write_text(json.dumps(other))
    assert study.two_failures(**places) == [], "a row of other weights is made again"
    assert json.loads((tmp_path / "rows/seed-0.json").read_text()) == row
    text = write_page(tmp_path / "page.md", study.collected(tmp_path / "rows")).read_text()
    assert "change what long thinking costs? | +0.000 [+0.000, +0.000] | not to be told" in text
    assert (tmp_path / "page-accuracy.svg").exists() and (tmp_path / "page-answer-entropy.svg").exists()


def made(arms):
    """One seed of four problems; ``arms`` -> (free, long, votes) of each."""
    asked = {"problems": 4, "k": 2, "paths": 2, "long": 1, "max_tokens": 56}
    return {"seed": 0, "commit": "abc", "asked": asked, "arms": {
        arm: {
            "roles": {"all": free}, "threshold": 0.1, "stopped": 0.25, "passes": {"1": [free] * 4, "2": [free] * 4},
            "tokens": dict.fromkeys(("long", "free", "stop", "votes"), 9.0),
            "rights": {
                "long": [long] * 4, "free": [free] * 4, "stop": [free] * 4, "votes": [votes] * 4,
                "free_paths": [free] * 4, "stop_paths": [free] * 4, "reach": [free] * 4,
            },
            "spread": {way: {
                "thinking": 5.0, "cut": 0.5, "accuracy": [free] * 4,
                "answer_entropy": [0.7] * 4, "no_answer": [0.0] * 4,
            } for way in ("free", "wait-1")},
        } for arm, (free, long, votes) in arms.items()
    }}  # fmt: skip


def test_each_number_is_of_its_policy(tmp_path):
    row = made({"before": (0.25, 0.25, 0.25), "after": (0.5, 0.25, 0.75), "kept": (0.75, 0.25, 1.0)})
    text = write_page(tmp_path / "page.md", {0: row}).read_text()
    assert "change what long thinking costs? | +0.250 [+0.250, +0.250] | yes, up" in text
    assert "votes change accuracy against long thinking, after training? | +0.500 [" in text
    assert "| after GRPO | 0.250 [0.250, 0.250], 9 tokens | 0.500 [" in text
    assert "between models they are not at equal tokens" not in text
    row["arms"]["kept"]["tokens"]["votes"] = 18.0
    uneven = write_page(tmp_path / "page.md", {0: row}).read_text()
    assert "9 tokens after training and 18 where entropy was kept" in uneven
    assert "4 held-out problems" in text and "It changes 25.0 % of the completions after GRPO" in text


def of_seeds(**kept):
    """Rows of three seeds; ``kept`` are the tokens where entropy was kept, seed by seed."""
    rows = {}
    for seed in range(3):
        rows[seed] = made({"before": (0.25, 0.25, 0.25), "after": (0.5, 0.25, 0.5), "kept": (0.75, 0.25, 0.5)})
        rows[seed]["seed"] = seed
        rows[seed]["arms"]["kept"]["tokens"] |= {way: tokens[seed] for way, tokens in kept.items()}
    return rows


def test_a_seed_that_runs_away_is_named_wherever_its_mean_stands(tmp_path):
    rows = of_seeds(long=(126.6, 57.4, 63.6), votes=(125.0, 56.6, 61.6))
    for row, cut, votes in zip(rows.values(), (0.618, 0.0, 0.004), (0.75, 0.5, 0.25), strict=True):
        row["arms"]["kept"]["spread"]["wait-1"] |= {"cut": cut, "thinking": 180 * cut + 50}
        row["arms"]["kept"]["rights"]["votes"] = [votes] * 4
    text = write_page(tmp_path / "page.md", rows).read_text()
    kept = "| entropy kept (fork_thermostat) |"
    assert f"{kept} 0 | 126.6 | 61.8 % | 0.250 | 125.0 | 0.750 | +0.250 |" in text
    assert f"{kept} 2 | 63.6 | 0.4 % | 0.250 | 61.6 | 0.250 | -0.250 |" in text
    assert "| after GRPO | 1 | 9.0 | 50.0 % | 0.250 | 9.0 | 0.500 |  |" in text
    assert "83 (127, 57, 64) tokens" in text and "81 (125, 57, 62) tokens" in text
    assert f"{kept} wait-1 | 87.3 (161.2, 50.0, 50.7) |" in text and "| 0.21 (0.62, 0.00, 0.00) |" in text
    assert "Votes spend what their own model's long thought took: " not in text, "the sentence of means"


def test_seeds_that_agree_are_left_to_their_mean(tmp_path):
    text = write_page(tmp_path / "page.md", of_seeds(long=(20.0, 24.0, 29.0), votes=(20.0, 24.0, 28.0))).read_text()
    assert "Seed by seed" not in text and "(20, 24, 29)" not in text
    assert "9 tokens after training and 24 where entropy was kept" in text


def test_what_long_thinking_costs_is_told_in_its_two_parts(tmp_path):
    row = made({"before": (0.25, 0.25, 0.25), "after": (0.5, 0.375, 0.75), "kept": (0.75, 0.25, 1.0)})
    text = write_page(tmp_path / "page.md", {0: row}).read_text()
    assert "changes the first by +0.250 [+0.250, +0.250] and the second by -0.125 [-0.125, -0.125]." in text


def test_a_completion_that_was_cut_off_may_have_answered(tmp_path):
    """All of ``made`` have an answer, and half of them are cut off."""
    row = made({"before": (0.25, 0.25, 0.25), "after": (0.5, 0.25, 0.75), "kept": (0.75, 0.25, 1.0)})
    text = write_page(tmp_path / "page.md", {0: row}).read_text()
    assert "whether or not they had answered by then" in text and "and so have none" not in text


def test_a_policy_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "make", lambda arms, seeds, end: None)
    (missing,) = study.two_failures(1, rows=tmp_path / "rows", out=tmp_path / "runs", asked=SMALL)
    assert missing.startswith("seed-0: ") and "start: not made yet" in missing


def test_without_rows_the_page_says_how_to_make_them(tmp_path):
    assert "python -m forkpoint.studies.two_failures" in write_page(tmp_path / "page.md", {}).read_text()
