"""Countdown's grammar, verdicts and labels, against an independent reading of the rules."""

import re
from itertools import islice, permutations, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpoint.labels import Label
from forkpoint.tasks.countdown import FORMATS, _chains, _spell, countdown

TASK = countdown()
PROBLEM = TASK.problem((3, 4, 9), 39)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("try 9 * 4 = 36 , 36 + 3 = 39 yes", "no answer phase"),
        ("yes answer 9 * 4 = 36", "two steps"),
        ("yes answer 9 * 4 = 36 , 36 + 3 = 38", "false step"),
        ("yes answer 9 * 4 = 35 , 35 + 4 = 39", "false step"),
        ("yes answer 9 + 9 = 18 , 18 + 3 = 21", "not at hand"),
        ("yes answer 9 + 3 = 12 , 12 + 3 = 15", "not at hand"),
        ("yes answer 9 + 4 = 13 , 13 * 3 = 39 , 39 + 0 = 39", "two steps"),
        ("yes answer 9 + 4 = 13 , 13 + 3 = 16", "ends at 16"),
        ("yes answer 36 + 3 = 39 , 9 * 4 = 36", "not at hand"),
        ("yes answer 09 * 4 = 36 , 36 + 3 = 39", "two steps"),
        ("yes answer ９ * 4 = 36 , 36 + 3 = 39", "two steps"),
        ("yes answer 9 ** 4 = 36 , 36 + 3 = 39", "two steps"),
        ("yes answer 9 * 4 = 36 , 36 + 3 = 39 yes answer 9 * 4 = 36 , 36 + 3 = 39", "two steps"),
        ("__import__('os').system('true') answer 9 * 4 = 36 , 36 + 3 = int(39)", "two steps"),
    ],
)
def test_a_wrong_answer_says_why(text, reason):
    verdict = TASK.score(PROBLEM, text)
    assert verdict.outcome == "wrong"
    assert reason in verdict.reason


@pytest.mark.parametrize("answer", ["9 * 4 = 36 , 36 + 3 = 39", "4 * 9 = 36 , 3 + 36 = 39", "9 + 4 = 13 , 3 * 13 = 39"])
def test_operands_may_stand_in_either_order(answer):
    assert TASK.score(PROBLEM, f"try 1 no answer {answer}").correct


@given(
    st.lists(
        st.sampled_from(["3", "4", "9", "12", "13", "36", "39", "27", "+", "-", "*", "=", ",", "answer"]), max_size=14
    )
)
def test_only_a_chain_that_python_agrees_with_is_correct(words):
    text = "answer " + " ".join(words)
    if TASK.score(PROBLEM, " " + text).correct:
        found = re.fullmatch(r"answer (\d+) (.) (\d+) = (\d+) , (\d+) (.) (\d+) = (\d+)", text)
        assert found
        a, op1, b, c, d, op2, e, f = found.groups()
        apply = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
        assert apply[op1](int(a), int(b)) == int(c)
        assert apply[op2](int(d), int(e)) == int(f) == 39
        assert sorted([a, b, d, e]) == sorted(["3", "4", "9", c])


def test_chains_are_all_legal_ones_by_brute_force():
    apply = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    found = set()
    for (a, b, rest), op1, op2 in product(permutations((3, 4, 9)), apply, apply):
        first = apply[op1](a, b)
        for left, right in ((first, rest), (rest, first)):
            last = apply[op2](left, right)
            if a >= b and left >= right and 0 <= first <= 99 and 0 <= last <= 99:
                found.add(((a, op1, b, first), (left, op2, right, last)))
    assert {tuple(map(tuple, chain)) for chain in _chains((3, 4, 9))} == found


@pytest.mark.parametrize("style", FORMATS)
def test_fork_labels_mark_where_a_legal_chain_can_go_two_ways(style):
    """Second tries only: the first two tokens of the first try settle the format."""
    chains = [_spell(chain, form).split() for chain in _chains(PROBLEM.data["numbers"]) for form in FORMATS]
    for chain in _chains(PROBLEM.data["numbers"]):
        words = _spell(chain, style).split()
        labels = TASK.labels(PROBLEM, ["try", *chains[0], "no", "try", *words, "no"])[len(chains[0]) + 3 : -1]
        for place, label in enumerate(labels):
            ways = {other[place] for other in chains if other[:place] == words[:place]}
            assert label == (Label.FORK if len(ways) > 1 else Label.EXECUTION)


def test_labels_of_one_completion_by_hand():
    text = "try 9 + 4 = 13 , 13 + 3 = 16 no try 9 + 5 = 14 , 1 no stop"
    names = [label.name[:4] for label in TASK.labels(PROBLEM, text.split())]
    # the first two tokens settle the notation; then the second operand is a choice (3 or 4), the next operator is one
    assert names[:7] == ["EXEC", "FORM", "FORM", "FORK", "EXEC", "EXEC", "EXEC"]
    assert names[7:13] == ["EXEC", "FORK", "EXEC", "EXEC", "EXEC", "EXEC"]
    # 9 + 5: there is no 5
    assert names[13:] == ["PLAN", "FORK", "FORK", "OTHE", "OTHE", "OTHE", "OTHE", "OTHE", "EXEC", "PLAN"]


def test_traits_tell_the_format_of_the_first_try():
    chain = _chains(PROBLEM.data["numbers"])[0]
    for style in FORMATS:
        text = f"try {_spell(chain, style)} no try {_spell(chain, 'infix')} no stop"
        assert TASK.traits(PROBLEM, text) == {"format": style, "tries": 2.0}
    assert TASK.traits(PROBLEM, "")["format"] == "other"
    assert TASK.traits(PROBLEM, "try = = =")["format"] == "other"


def test_demonstrations_follow_their_stated_shares():
    rng, some = Random(0), list(islice(TASK.problems("train"), 3000))
    texts = [TASK.demonstrate(problem, rng) for problem in some]
    formats = [TASK.traits(problem, text)["format"] for problem, text in zip(some, texts, strict=True)]
    for style, share in zip(FORMATS, TASK.format_shares, strict=True):
        assert formats.count(style) / len(texts) == pytest.approx(share, abs=0.04)
    first_right = [" no" not in text.partition(" yes")[0] and "yes" in text for text in texts]
    assert sum(first_right) / len(texts) == pytest.approx(TASK.right_share, abs=0.04)
    assert all(0 < text.count("try") <= TASK.max_tries for text in texts)
