"""Dyck words, against enumeration of every bracket string."""

import math
from collections import Counter
from itertools import product
from random import Random

import pytest

from forkpoint.labels import Label
from forkpoint.tasks.dyck import dyck

TASK = dyck()


def balanced(words):
    text = "".join(words)
    while "()" in text or "[]" in text:
        text = text.replace("()", "").replace("[]", "")
    return not text


@pytest.mark.parametrize("prefix, length", [((), 4), (("(",), 6), (("[", "(", ")"), 8), (("(", "["), 6)])
def test_scores_and_counts_agree_with_enumeration(prefix, length):
    problem = TASK.problem(length, prefix)
    right = [w for w in product("()[]", repeat=length - len(prefix)) if balanced([*prefix, *w])]
    assert TASK.num_right(problem) == len(right)
    for words in product("()[]", repeat=length - len(prefix)):
        assert TASK.score(problem, " ".join(words)).correct == (words in right)


def test_labels_count_the_ways_on_by_enumeration():
    problem = TASK.problem(6, ("(",))
    right = [w for w in product("()[]", repeat=5) if balanced(["(", *w])]
    for words in right:
        for place, label in enumerate(TASK.labels(problem, list(words))):
            ways = {w[place] for w in right if w[:place] == words[:place]}
            assert label == (Label.FORK if len(ways) > 1 else Label.EXECUTION)


def test_a_slip_and_what_follows_it_is_other():
    problem = TASK.problem(6, ("(",))
    assert TASK.labels(problem, ["]", ")"]) == [Label.OTHER, Label.OTHER]


def test_demonstrations_without_slips_are_uniform_over_right_answers():
    task = dyck(slip_share=0.0)
    problem, rng = task.problem(6, ("(",)), Random(0)
    counts = Counter(task.demonstrate(problem, rng) for _ in range(6000))
    share = 1 / task.num_right(problem)
    assert len(counts) == task.num_right(problem)
    spread = 5 * math.sqrt(share * (1 - share) / 6000)
    assert all(abs(n / 6000 - share) < spread for n in counts.values())
