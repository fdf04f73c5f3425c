"""Claims are data: each file is whole, each checked claim names what checks it, each source in the code is listed."""

import re
from pathlib import Path

import numpy as np
import pytest

from forkpoint import catalog, papers, signatures
from forkpoint.trainers import _columns

ROOT = Path(__file__).parents[1]
CLAIMS = [(paper, claim) for paper in papers.names() for claim in papers.get(paper).claim]
COLUMN = re.compile(r"\b(?:control|diversity|entropy|guard|kl|rank)/[a-z_/]+")


@pytest.mark.parametrize("name", papers.names())
def test_every_file_is_whole(name: str):
    paper = papers.get(name)
    assert paper.id == name
    assert paper.url == f"https://arxiv.org/abs/{name}" or not signatures.ARXIV.fullmatch(name)
    assert paper.claim or not signatures.ARXIV.fullmatch(name)


@pytest.mark.parametrize("name", [name for name in papers.names() if signatures.ARXIV.fullmatch(name)])
def test_a_preprint_is_dated_by_its_id_or_by_where_it_appeared(name: str):
    paper, written = papers.get(name), 2000 + int(name[:2])
    assert paper.year == written or (paper.year > written and paper.bibtex)
    assert str(paper.year) in paper.key


@pytest.mark.parametrize("name", papers.names())
def test_no_paper_says_a_thing_twice(name: str):
    texts = [claim.text for claim in papers.get(name).claim]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("paper", "claim"), CLAIMS, ids=[f"{p}-{c.text[:40]}" for p, c in CLAIMS])
def test_what_is_said_to_be_checked_names_a_test_that_exists(paper: str, claim: papers.Claim):
    path, _, function = claim.checked_by.partition("::")
    if claim.status in papers.CHECKED:
        assert re.search(rf"^def {function}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    else:
        assert claim.checked_by == ""


def test_every_column_that_a_claim_names_is_one_of_ours():
    named = {key for _, claim in CLAIMS for key in COLUMN.findall(f"{claim.text} {claim.value} {claim.notes}")}
    stated = _columns.stated(1.0, 1)
    assert len(named) >= 4
    assert {key for key in named if not any(f"{key}/".startswith(f"{known}/") for known in stated)} == set()


def test_every_source_that_the_code_names_is_listed():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    named = {paper for text in texts for paper in re.findall(r"arXiv:(\d{4}\.\d{4,5})", text)}
    assert named - set(papers.names()) == set()


@pytest.mark.parametrize("method", catalog.names("methods"))
def test_every_method_can_be_cited(method: str):
    assert papers.of_method(method)


def test_bibtex_keys_are_unique_and_braces_close():
    entries = [papers.bibtex(papers.get(name)) for name in papers.names()]
    keys = [entry.partition("{")[2].partition(",")[0] for entry in entries]
    assert len(set(keys)) == len(keys)
    for entry in entries:
        depth = np.cumsum([(c == "{") - (c == "}") for c in entry])
        assert depth.min() == 0 == depth[-1]
        assert np.flatnonzero(depth == 0)[-1] == len(entry) - 1


def test_a_paper_is_cited_once():
    one = papers.get("1707.06347")
    assert papers.bibliography([one, one]) == papers.bibtex(one)


GOOD = 'id = "x"\ntitle = "T"\nauthors = ["A"]\nyear = 2025\nkey = "k"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("title", "titel"), "paper: no field 'titel'; did you mean 'title'?"),
        (GOOD.replace("year = 2025\n", ""), "paper: field 'year' is missing"),
        (GOOD.replace('["A"]', "[]"), "paper: field 'authors' is missing"),
        (GOOD + '[[claim]]\ntext = "t"\nstatus = "exat"', "claim 1: no status 'exat'; did you mean 'exact'?"),
        (GOOD + '[[claim]]\ntext = "t"\nstatus = "exact"', "claim 1: exact and checked_by = '' disagree"),
        (GOOD + '[[claim]]\ntext = "t"\nstatus = "quoted"\nchecked_by = "x"', "quoted and checked_by = 'x' disagree"),
        (GOOD + '[[claim]]\nstatus = "quoted"', "paper: claim 1: field 'text' is missing"),
    ],
)
def test_a_malformed_file_is_named_by_field(text: str, says: str):
    with pytest.raises(ValueError, match=re.escape(says)):
        papers.parse(text)


def test_an_unknown_paper_names_the_nearest():
    with pytest.raises(ValueError, match=re.escape("did you mean '2505.22617'?")):
        papers.get("2505.22671")


# Entropy change of a tabular softmax policy under a policy-gradient step (arXiv:2505.22617, Theorem 1): logits
# (2, 1, 0, -1), reward 1 for the first and the last action, advantage = reward - expected reward.


def change_and_forecast(step_size: float) -> tuple[float, float]:
    """The exact change of entropy, and -eta Cov(log p, p A)."""
    logits, reward = np.array([2.0, 1.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    p = softmax(logits)
    drive = p * (reward - p @ reward)
    covariance = p @ (np.log(p) * drive) - (p @ np.log(p)) * (p @ drive)
    return entropy(softmax(logits + step_size * drive)) - entropy(p), float(-step_size * covariance)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def entropy(p: np.ndarray) -> float:
    return float(-(p @ np.log(p)))


def test_a_policy_gradient_step_changes_entropy_by_minus_the_covariance():
    assert change_and_forecast(0.1) == pytest.approx((-0.0094644690, -0.0093681295), abs=1e-9)
    errors = [abs(change / forecast - 1) for change, forecast in map(change_and_forecast, (1e-1, 1e-2, 1e-3))]
    # first order: the relative error shrinks in proportion to the step
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.1)
    assert errors[2] / errors[1] == pytest.approx(0.1, rel=0.1)


# The weight of a refined token in Critique-GRPO (arXiv:2506.03106): the loss is -A f(p), so the gradient of log p is
# weighted by df / d log p, which is gamma p / (p + gamma)^2.


def shaped(log_p: np.ndarray, gamma: float = 0.1) -> np.ndarray:
    return np.exp(log_p) / (np.exp(log_p) + gamma)


def test_shaped_refinements_weigh_most_where_p_is_gamma():
    log_p, step = np.log([0.9, 0.5, 0.1, 0.01]), 1e-6
    weight = (shaped(log_p + step) - shaped(log_p - step)) / (2 * step)
    assert weight == pytest.approx([0.09, 5 / 36, 0.25, 0.1 * 0.01 / 0.11**2], abs=1e-9)
    grid = np.linspace(-9, 0, 100_001)
    assert np.exp(grid[np.gradient(shaped(grid), grid).argmax()]) == pytest.approx(0.1, rel=1e-3)
