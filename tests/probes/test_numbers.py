"""Numbers that a reader can check: by hand, by enumeration, or against the published vectors."""

import math
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from forkpoint.metrics._mutual_information import prompt_information
from forkpoint.probes import Crossed, Drawn, Samples
from forkpoint.probes._reading import over_problems
from forkpoint.probes._toy_model import best_variance, expected_reward, fit
from forkpoint.probes.answer_entropy import answer_entropy
from forkpoint.probes.best_of_k import best_of_k
from forkpoint.probes.clusters import clusters
from forkpoint.probes.distinct_n import distinct_n
from forkpoint.probes.majority import majority
from forkpoint.probes.mutual_information import mutual_information
from forkpoint.probes.pass_at_k import pass_at_k
from forkpoint.probes.semantic_entropy import semantic_entropy
from forkpoint.probes.variance import variance
from forkpoint.probes.vendi_score import vendi, vendi_score


def problem(answers: Any, verdicts: Any = None, name: str = "p", **more: Any) -> Drawn:
    size = len(answers)
    given = {"logp": (0.0,) * size, "lengths": (1,) * size, "texts": tuple(map(str, answers))} | more
    return Drawn(id=name, prompt="", answers=tuple(answers), verdicts=tuple(verdicts or ("none",) * size), **given)


def values(reading: Any) -> dict[str, float]:
    return {name: value.value for name, value in reading.values.items()}


def judged(correct: int, size: int) -> Drawn:
    return problem(["1"] * correct + ["0"] * (size - correct), ["correct"] * correct + ["wrong"] * (size - correct))


@pytest.mark.parametrize(
    ("correct", "k", "expected"), [(4, 1, 0.25), (4, 4, 0.728022), (13, 4, 1.0), (0, 16, 0.0), (1, 16, 1.0)]
)
def test_pass_at_k_is_the_published_estimator(correct: int, k: int, expected: float):
    assert values(pass_at_k(Samples((judged(correct, 16),)), ks=[k]))[f"pass@{k}"] == pytest.approx(expected, abs=5e-7)


def test_a_problem_with_too_few_verdicts_is_left_out_and_counted():
    short = problem(["1"] * 16, ["correct"] + ["none"] * 15, "short")
    reading = pass_at_k(Samples((judged(4, 16), short)))
    assert [reading.values[f"pass@{k}"].problems for k in (1, 2, 16)] == [2, 1, 1]
    assert reading.values["pass@1"].value == (0.25 + 1) / 2
    assert (
        reading.note == "15 of 32 completions got no verdict; 1 of 2 problems have fewer than 16 and are left out there"
    )


def vote(drawn: list[tuple[str | None, float]]) -> float:
    """One set of votes, as it is said in words."""
    counts = Counter(answer for answer, _ in drawn if answer is not None)
    if not counts:
        return 0.0
    tied = [answer for answer, count in counts.items() if count == max(counts.values())]
    return float(np.mean([dict(drawn)[answer] for answer in tied]))


@pytest.mark.parametrize("seed", range(6))
def test_the_expected_vote_is_the_mean_over_every_set(seed: int):
    rng = np.random.default_rng(seed)
    answers = [None if pick == 0 else str(pick) for pick in rng.integers(0, 5, 9)]
    one = problem(answers, ["correct" if answer in ("1", "2") else "wrong" for answer in answers])
    pairs = [(answer, float(answer in ("1", "2"))) for answer in answers]
    reading = values(majority(Samples((one,)), ks=range(1, 10)))
    for k in range(1, 10):
        expected = np.mean([vote(list(chosen)) for chosen in combinations(pairs, k)])
        assert reading[f"maj@{k}"] == pytest.approx(expected, abs=1e-12), k


def test_no_answer_fills_a_draw_and_wins_over_none():
    one = problem([None, None, None, "7"], ["wrong"] * 3 + ["correct"])
    assert values(majority(Samples((one,)), ks=[1, 2, 4])) == pytest.approx({"maj@1": 0.25, "maj@2": 0.5, "maj@4": 1.0})


def test_a_vote_among_many_is_exact_and_finite():
    one = problem([str(i % 40) for i in range(400)], ["correct" if i % 40 < 4 else "wrong" for i in range(400)])
    reading = values(majority(Samples((one,))))
    assert reading["maj@1"] == pytest.approx(0.1) and reading["maj@256"] == pytest.approx(0.1), "all answers are alike"


def test_a_vote_of_thousands_does_not_overflow():
    """At k = n the plurality has it; at k = n - 1 a majority of one is tied where the one left out is of it."""
    yes, no = 1001, 1000
    one = problem(["7"] * yes + ["8"] * no, ["correct"] * yes + ["wrong"] * no)
    reading = values(majority(Samples((one,)), ks=[1, 2000, 2001]))
    assert reading["maj@2001"] == 1 and reading["maj@1"] == pytest.approx(yes / (yes + no))
    assert reading["maj@2000"] == pytest.approx(1 - yes / (yes + no) / 2, abs=1e-12)
    three = problem([str(i % 3) for i in range(2000)], ["correct" if i % 3 == 2 else "wrong" for i in range(2000)])
    assert values(majority(Samples((three,)), ks=[2000])) == {"maj@2000": 0}, "667, 667 and 666 votes"
    alike = problem([str(i % 4) for i in range(2000)], ["correct" if i % 4 == 0 else "wrong" for i in range(2000)])
    found = values(majority(Samples((alike,)), ks=[2, 512, 1030, 1999, 2000]))
    assert list(found.values()) == pytest.approx([0.25] * 5, abs=1e-12), "of four answers alike each wins a quarter"


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_k_is_the_mean_over_every_set(seed: int):
    rng = np.random.default_rng(seed)
    scores, right = rng.integers(0, 4, 8).astype(float), rng.random(8) < 0.5
    one = problem(["a"] * 8, ["correct" if r else "wrong" for r in right], logp=tuple(scores.tolist()))
    reading = values(best_of_k(Samples((one,)), ks=range(1, 9)))
    for k in range(1, 9):
        sets = [list(chosen) for chosen in combinations(range(8), k)]
        expected = np.mean([right[[i for i in s if scores[i] == scores[s].max()]].mean() for s in sets])
        assert reading[f"best@{k}"] == pytest.approx(expected, abs=1e-12), k


def test_a_perfect_scorer_gives_pass_at_k_and_one_that_knows_nothing_accuracy():
    one = Samples((judged(3, 8),))
    perfect = values(best_of_k(one, scorer=lambda prompt, text: float(text)))
    assert list(perfect.values()) == pytest.approx(list(values(pass_at_k(one)).values()))
    assert list(values(best_of_k(one, scorer=lambda prompt, text: 0)).values()) == pytest.approx([3 / 8] * 4)
    assert values(best_of_k(one, scorer=lambda prompt, text: np.float32(text))) == perfect, "what a model gives is one"
    with pytest.raises(ValueError, match=r"^scorer: returned inf for problem '.*'; return a finite number"):
        best_of_k(one, scorer=lambda prompt, text: math.inf)


def test_log_prob_is_taken_per_token():
    """The longer one is less probable as a whole and more per token."""
    one = problem(["a", "b"], ["correct", "wrong"], logp=(-4.0, -3.0), lengths=(8, 2))
    assert values(best_of_k(Samples((one,)), ks=[2])) == {"best@2": 1.0}


def test_answers_of_sizes_2_1_1_have_the_entropy_of_their_counts():
    assert values(answer_entropy(Samples((problem(["a", "a", "b", "c"]),))))["answer_entropy"] == pytest.approx(
        1.039721
    )
    assert values(answer_entropy(Samples((problem(["a", None, None, "a"]),))))["answer_entropy"] == pytest.approx(
        math.log(2)
    )


def test_semantic_entropy_has_two_forms():
    one = problem(["a", "a", "b", "c"], logp=(-1.0, -1.2, -3.0, -4.0))
    found = values(semantic_entropy(Samples((one,))))
    assert found["semantic_entropy/discrete"] == pytest.approx(1.039721, abs=5e-7)
    assert found["semantic_entropy/weighted"] == pytest.approx(0.3618, abs=5e-5)


def test_log_probs_of_long_completions_do_not_underflow():
    one = problem(["a", "b"], logp=(-5000.0, -5000.0))
    assert values(semantic_entropy(Samples((one,))))["semantic_entropy/weighted"] == pytest.approx(math.log(2))


def test_entailment_must_hold_in_both_directions_and_with_the_first_member():
    one = Samples((problem(["1", "12", "123", "3"]),))
    contains = values(semantic_entropy(one, entailment=lambda a, b: b in a))
    assert contains["semantic_entropy/discrete"] == pytest.approx(math.log(4)), "one direction is not enough"
    # 1 and 2 are near, 2 and 3 are near, 1 and 3 are not: 3 is compared with 1, the first of its cluster
    near = values(semantic_entropy(Samples((problem(["1", "2", "3"]),)), entailment=_near))
    assert near["semantic_entropy/discrete"] == pytest.approx(2 / 3 * math.log(1.5) + 1 / 3 * math.log(3))


def _near(a: str, b: str) -> bool:
    return abs(int(a) - int(b)) <= 1


def test_n_grams_stay_inside_a_completion():
    one = problem(["", ""], tokens=((1, 2), (1, 2)))
    found = values(distinct_n(Samples((one,))))
    assert (found["distinct_1"], found["distinct_2"]) == (0.5, 0.5)
    assert math.isnan(found["distinct_3"]), "(1, 2, 1) would cross"


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (np.eye(2), (2, 2, 2)),
        (np.ones((3, 3)), (1, 1, 1)),
        (np.array([[1, 0.5], [0.5, 1]]), (1.754765, 1.6, 1.333333)),
        (np.kron(np.eye(2), np.ones((2, 2))), (2, 2, 2)),
    ],
)
def test_the_vendi_score_is_the_published_one(kernel: Any, expected: tuple[float, ...]):
    assert [vendi(kernel, q) for q in (1.0, 2.0, math.inf)] == pytest.approx(expected, abs=5e-7)


def test_the_kernel_may_be_anyone_s_or_of_embeddings():
    texts = Samples((problem(["a b", "a b", "c"]),))
    assert values(vendi_score(texts))["vendi_score/q=1"] == pytest.approx(1.889882, abs=5e-7)
    assert values(vendi_score(texts, kernel=lambda a, b: 1.0))["vendi_score/q=1"] == pytest.approx(1)
    vectors = Samples((problem(["a", "b"], embeddings=((1.0, 0.0), (0.0, 2.0))),))
    assert values(vendi_score(vectors))["vendi_score/q=2"] == pytest.approx(2)
    empty = Samples((problem(["", "", "a"]),))
    assert values(vendi_score(empty))["vendi_score/q=inf"] == pytest.approx(1.5), "empty completions are alike"


def test_a_kernel_that_is_no_similarity_is_refused():
    three = Samples((problem(["a", "b", "c"]),))
    with pytest.raises(ValueError, match=r"positive semidefinite, and its least eigenvalue is -4$") as refused:
        vendi_score(three, kernel=lambda a, b: 1.0 if a == b else 5.0)
    assert str(refused.value).startswith("kernel: on the completions of problem 'p' it is no similarity: ")
    # two are near a third and opposite to each other
    near = {"ab": 0.9, "bc": 0.9, "ac": -0.9}
    with pytest.raises(ValueError, match="positive semidefinite"):
        vendi_score(three, kernel=lambda a, b: near.get("".join(sorted(a + b)), 1.0))


def test_a_kernel_of_single_precision_is_a_similarity():
    """Cosines of vectors on one line: rounding leaves eigenvalues of K / n of -5e-8."""
    lines = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    for a, b in lines:
        rows = np.array([[a, b], [3 * a, 3 * b], [7 * a, 7 * b]], dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        texts = Samples((problem(["0", "1", "2"]),))
        score = vendi_score(texts, kernel=lambda one, other, rows=rows: float(rows[int(one)] @ rows[int(other)]))
        assert values(score)["vendi_score/q=1"] == pytest.approx(1, abs=1e-4)


def test_clusters_tell_right_from_wrong():
    one = problem(["a", "b", "c", None], ["correct"] * 2 + ["wrong"] * 2, traits=({"way": "x"},) * 3 + ({"way": "y"},))
    found = values(clusters(Samples((one, problem(["a"] * 2, ["wrong"] * 2, "q")))))
    assert (found["clusters/answers/correct"], found["clusters/answers/wrong"]) == (2, 1.5)
    assert (found["clusters/way/correct"], found["clusters/way/wrong"]) == (1, 2)
    assert found["clusters/answers/wrong/largest"] == 0.75


def test_variance_within_and_between_add_up_and_are_unbiased():
    rng = np.random.default_rng(0)
    chances = rng.random(4000)
    many = [judged(int(rng.binomial(4, p)), 4) for p in chances]
    found = values(variance(Samples(tuple(many))))
    assert found["variance/within"] + found["variance/between"] == pytest.approx(found["variance/total"], abs=1e-12)
    # uniform chances: E p (1 - p) = 1/6 and Var p = 1/12
    assert found["variance/within"] == pytest.approx(1 / 6, abs=0.01)
    assert found["variance/between"] == pytest.approx(1 / 12, abs=0.01)


def test_mutual_information_is_the_mean_of_its_terms():
    import torch

    table = -3 * torch.rand(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ids = tuple("abcde")
    one = Samples(tuple(problem(["1"], name=name) for name in ids), Crossed(ids, tuple(map(tuple, table.tolist()))))
    reading = mutual_information(one)
    assert reading is not None
    assert values(reading)["mutual_information"] == pytest.approx(
        prompt_information(table).mutual_information, rel=1e-12
    )


# ---- the toy model


def test_the_toy_model_peaks_where_it_says():
    best = best_variance(2.0, 0.25)
    assert best**0.5 == pytest.approx(1.936492, abs=5e-7)
    assert float(expected_reward(2.0, 0.25, best)) == pytest.approx(0.120985, abs=5e-7)
    beside = [float(expected_reward(2.0, 0.25, deviation**2)) for deviation in (0.5, 1.0, 3.0, 6.0)]
    assert beside == pytest.approx([0.0103, 0.0720, 0.1057, 0.0627], abs=5e-5)
    assert best_variance(0.5, 1.0) == 0


@pytest.mark.parametrize(("gap", "deviation"), [(2.0, 0.5), (1.0, 0.1), (3.0, 2.0)])
def test_a_fit_finds_the_curve_that_made_its_points(gap: float, deviation: float):
    peak = best_variance(gap, deviation**2)
    variances = [peak * factor for factor in (0.1, 0.3, 0.7, 1.0, 2.0, 5.0)]
    found = fit(variances, [float(3 * expected_reward(gap, deviation**2, v)) for v in variances])
    assert found.peak == pytest.approx(peak, rel=0.01) and found.rmse < 1e-4 and not found.note


@pytest.mark.parametrize(
    ("variances", "accuracies", "says"),
    [
        ([1.0, 1.0, 2.0, 3.0], [0.1, 0.1, 0.2, 0.3], "not identified: 3 different variances"),
        ([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4], "not identified: accuracy has no peak"),
        ([1.0, 2.0, 3.0, 4.0], [0.4, 0.3, 0.2, 0.1], "not identified: accuracy has no peak"),
    ],
)
def test_a_fit_says_when_it_cannot_be_identified(variances: list[float], accuracies: list[float], says: str):
    found = fit(variances, accuracies)
    assert found.note.startswith(says) and math.isnan(found.peak)


def test_a_fit_needs_pairs_of_numbers():
    for bad in (([1.0], []), ([1.0, math.nan], [0.1, 0.2]), ([-1.0, 1.0], [0.1, 0.2])):
        with pytest.raises(ValueError, match="give as many accuracies as variances"):
            fit(*bad)


def test_the_interval_covers_the_mean_it_estimates():
    rng = np.random.default_rng(0)
    covered = [over_problems(rng.normal(1.0, 1.0, 50), unit="") for _ in range(300)]
    assert 0.90 < np.mean([value.low <= 1.0 <= value.high for value in covered]) < 0.98
