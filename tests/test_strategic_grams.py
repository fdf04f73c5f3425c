"""Planning phrases from made solutions: planted ones are found, repeats within one change nothing."""

from random import Random

import numpy as np
import pytest

from forkpoint.strategic_grams import StrategicGrams, hashed_trigrams, k_means, places, random_grams, strategic_grams

PLANTED = ("let me check that again", "wait maybe we should try", "first consider the simple case")
WORDS = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in ("m", "nt", "rst", "x")]


def solutions(num=40, seed=0):
    """Each uses each planted phrase once among random words; no other phrase is common."""
    rng = Random(seed)
    texts = []
    for _ in range(num):
        parts = [" ".join(rng.choices(WORDS, k=rng.randint(4, 9))) for _ in range(6)]
        texts.append(
            ". ".join(part for pair in zip(parts, (*PLANTED, "", "", ""), strict=True) for part in pair if part)
        )
    return texts


def planted():
    return {place.gram for phrase in PLANTED for place in places(phrase, (3, 4, 5))}


def test_planted_strategies_are_found_and_little_else():
    texts = solutions()
    found = strategic_grams(texts, num_clusters=200, share=0.02)
    assert found.grams == planted()
    assert max(found.documents) == found.num_solutions == len(texts)
    assert list(found.documents) == sorted(found.documents, reverse=True)


def test_repeats_within_one_solution_and_the_order_of_solutions_never_matter():
    texts = solutions()
    found = strategic_grams(texts)
    assert strategic_grams([f"{text}. {text}\n{text}" for text in texts]) == found
    assert strategic_grams(texts[::-1]) == found
    # the negative control: repeats in other solutions do matter
    assert strategic_grams([*texts, *[texts[0]] * 60]) != found


def test_solutions_are_counted_and_not_uses():
    """One solution that says a phrase a hundred times is one solution."""
    texts = ["alpha beta gamma", "alpha beta gamma", "delta epsilon zeta. " * 100]
    found = strategic_grams(texts, sizes=(3,), num_clusters=2, share=0.5)
    assert found.clusters == (("alpha beta gamma",),) and found.documents == (2,)


def test_phrases_on_the_stop_list_leave_with_all_that_holds_them():
    texts = solutions()
    found = strategic_grams(texts, stop=["Check that"], num_clusters=200, share=0.1)
    assert not any("check that" in gram for gram in found.grams)
    assert "maybe we should" in found.grams


def test_what_is_frequent_within_a_solution_can_be_left_out():
    texts = [
        f"we have that {w}. we have that {v}. we have that {u}. let me check {w}"
        for w, v, u in zip(*[iter(WORDS)] * 3, strict=True)
    ]
    options = {"sizes": (3,), "num_clusters": 60, "share": 0.05}
    assert {"we have that", "let me check"} <= strategic_grams(texts, **options).grams
    capped = strategic_grams(texts, **options, most_within=1.5).grams
    assert "we have that" not in capped and "let me check" in capped


def test_any_embedding_will_do():
    texts = ["alpha beta gamma", "alpha beta gamma", "delta epsilon zeta"]
    asked = []

    def embed(phrases):
        asked.extend(phrases)
        return np.eye(len(phrases), dtype=np.float32)

    found = strategic_grams(texts, sizes=(3,), embed=embed, share=0.5)
    assert asked == ["alpha beta gamma", "delta epsilon zeta"]
    assert found.grams == {"alpha beta gamma"}


def test_the_placebo_is_as_large_and_shares_nothing():
    texts = solutions()
    found = strategic_grams(texts, num_clusters=200, share=0.02)
    placebo = random_grams(texts, found, seed=1)
    sizes = lambda grams: sorted(gram.count(" ") for gram in grams)  # noqa: E731
    assert sizes(placebo.grams) == sizes(found.grams) and not placebo.grams & found.grams
    assert random_grams(texts, found, seed=1) == placebo != random_grams(texts, found, seed=2)
    held = lambda grams: sum(bool(grams.spans(text)) for text in texts)  # noqa: E731
    assert held(found) == len(texts)
    assert sum(placebo.documents) < 0.2 * len(placebo.documents) * len(texts)
    with pytest.raises(ValueError, match="give more texts"):
        random_grams(texts[:1], StrategicGrams((tuple(f"a b {i}" for i in range(900)),), (1,), 1))


def test_json_and_back():
    found = strategic_grams(solutions())
    assert StrategicGrams.from_json(found.to_json()) == found
    for text in ("", "[]", '{"clusters": 3}', '{"clusters": [["a b c"]], "documents": ["x"], "num_solutions": 1}'):
        with pytest.raises(ValueError, match="no strategic grams as to_json writes them"):
            StrategicGrams.from_json(text)


def test_spans_merge_where_phrases_overlap_and_stop_at_sentences():
    grams = StrategicGrams((("a b c", "b c d", "x y z"),), (1,), 1)
    assert grams.spans("A b, c  d. x y. z X Y Z") == [(0, 9), (18, 23)]
    assert grams.spans("") == grams.spans("nothing here") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"share": 0.0}, "share=0.0; it is a fraction above 0"),
        ({"share": 20.0}, "share=20.0; it is a fraction above 0"),
        ({"sizes": (50,)}, "no phrase of .50. words in 40 solutions"),
    ],
)
def test_mistakes_are_named(asked, said):
    with pytest.raises(ValueError, match=said):
        strategic_grams(solutions(), **asked)


def test_k_means_finds_three_clouds_and_numbers_no_empty_cluster():
    rng = np.random.default_rng(0)
    clouds = np.repeat(np.array([[0.0, 9], [9, 0], [0, -9]]), 20, axis=0) + rng.normal(size=(60, 2))
    found = k_means(clouds, 3)
    assert [len(set(found[i : i + 20])) for i in (0, 20, 40)] == [1, 1, 1] and len(set(found)) == 3
    assert k_means(np.zeros((5, 2)), 3).tolist() == [0] * 5


def test_similar_phrases_are_near_and_others_are_not():
    others = [f"{a} {b} {c}" for a, b, c in zip(*[iter(WORDS)] * 3, strict=True)]
    one, other, far = hashed_trigrams(["let me check that", "let me check this", "forty two apples", *others])[:3]
    assert one @ other > 0.7 > 0.1 > abs(one @ far)
    assert one @ one == pytest.approx(1.0)
