"""CoT-decoding: paths worked by hand on scripted logits, golden gaps, the budget, greedy where k is 1."""

from dataclasses import replace
from random import Random

import pytest

from forkpoint.decoders import Ask, Markers, Trace, build
from forkpoint.decoders.cot_decoding import answer_tokens, decided, delta

END, A, B, C, SO = range(5)
WORDS = ["", "a", "b", "c", "so"]
PATH = Trace((A, B, C, END), "a b c", None, "end", confidence=(0.97, 0.85, 0.50, 0.1))


@pytest.fixture
def forked(scripted_policy, scripted_logits):
    """The first token is a, b or so; so is followed by b; then it ends."""

    def rule(read):
        if len(read) == 1:
            return scripted_logits(WORDS, a=0.5, b=0.3, so=0.2)
        if int(read[-1].argmax()) == SO:
            return scripted_logits(WORDS, b=0.9, a=0.1)
        return scripted_logits(WORDS, end=0.7, c=0.3)

    return scripted_policy(rule, WORDS)


def last_word(text: str) -> str | None:
    return text.split()[-1] if text else None


def test_three_paths_worked_by_hand(forked):
    (found,) = build("cot_decoding", k=3, max_tokens=8).decode(forked, [Ask("p", (C,), last_word)], 100)
    assert [trace.text for trace in found.traces] == ["a", "b", "so b"]
    # one token each: at the fork a leads b by .2, and after so b leads a by .8
    assert [trace.weight for trace in found.traces] == pytest.approx([0.2, 0.2, 0.8], abs=1e-4)
    assert found.votes == pytest.approx({"a": 0.2, "b": 1.0}, abs=1e-4)
    assert (found.answer, found.text, found.spent) == ("b", "so b", (1, 0, 7, 0))


def test_as_many_paths_as_the_budget_pays_for(forked):
    def texts(budget: int) -> list[str]:
        (found,) = build("cot_decoding", k=3, max_tokens=3).decode(forked, [Ask("p", (C,), last_word)], budget)
        assert found.spent.total <= budget
        return [trace.text for trace in found.traces]

    # 1 for the prompt; a path may take 3, so 7 pay for two: they take 4, and 1 more reads the prompt for a third's 1
    assert texts(10) == ["a", "b", "so b"]
    assert texts(7) == ["a", "b", "so"]
    assert texts(5) == ["a", "b"]
    assert texts(4) == ["a"]
    # a vocabulary of five has no more first tokens
    (found,) = build("cot_decoding", k=99, max_tokens=3).decode(forked, [Ask("p", (C,), last_word)], 1000)
    assert len(found.traces) == 5


def test_the_mean_gap_of_three_tokens(scripted_policy):
    policy = scripted_policy(len, WORDS)
    assert delta(replace(PATH, answer="a b c"), policy) == pytest.approx(0.773333, abs=1e-6)
    assert delta(replace(PATH, answer=None), policy) == 0


def test_which_tokens_are_the_answer(scripted_policy):
    plain = scripted_policy(len, WORDS)
    assert answer_tokens(replace(PATH, answer="b c"), plain) == range(1, 3)
    assert answer_tokens(replace(PATH, answer="b"), plain) == range(1, 2)
    # the last of several, nothing that spells it, no end token
    again = replace(PATH, ids=(A, B, A, C, END), text="a b a c")
    assert answer_tokens(replace(again, answer="a"), plain) == range(2, 3)
    assert answer_tokens(replace(PATH, answer="7"), plain) == range(0, 3)
    assert answer_tokens(replace(PATH, ids=(A, B), text="a b", answer="b"), plain) == range(1, 2)
    # after the marker, if the completion has one
    marked = scripted_policy(len, WORDS, Markers(end=(SO, B)))
    assert answer_tokens(replace(PATH, ids=(A, SO, B, C, A, END), text="a so b c a", answer="a"), marked) == range(3, 5)
    assert answer_tokens(replace(PATH, answer="b"), marked) == range(1, 2)


def test_the_largest_gap_and_the_largest_sum_may_disagree(scripted_policy):
    policy = scripted_policy(len, WORDS)
    paths = [
        Trace((token, END), answer, answer, "end", confidence=(gap, 0.0))
        for token, answer, gap in [(A, "a", 0.6), (B, "b", 0.5), (B, "b", 0.4)]
    ]
    summed, largest = (decided(Ask("p", (1,)), paths, policy, pick) for pick in ("sum", "largest"))
    assert (summed.answer, dict(summed.votes)) == ("b", pytest.approx({"a": 0.6, "b": 0.9}))
    assert (largest.answer, [trace.kept for trace in largest.traces]) == ("a", [True, False, False])
    assert (summed.spent, largest.spent) == ((1, 0, 6, 0), (1, 0, 2, 4))


def test_one_path_is_greedy_and_the_first_of_several(tiny_policy, tiny_asks):
    greedy = build("greedy").decode(tiny_policy, tiny_asks, 70)
    several = build("cot_decoding", k=5, max_tokens=64).decode(tiny_policy, tiny_asks, 250)
    alone = build("cot_decoding", k=1, max_tokens=64).decode(tiny_policy, tiny_asks, 70)
    assert [found.traces[0].ids for found in alone] == [found.traces[0].ids for found in greedy]
    assert [found.traces[0].ids for found in several] == [found.traces[0].ids for found in greedy]
    assert all(len({trace.ids[0] for trace in found.traces}) == len(found.traces) > 1 for found in several)


def test_no_budget_is_passed_and_rows_do_not_matter(tiny_policy, tiny_asks):
    random = Random(0)
    for _ in range(4):
        budget, made = random.randint(8, 250), build("cot_decoding", max_tokens=random.randint(1, 80))
        found = made.decode(tiny_policy, tiny_asks[:6], budget)
        assert all(each.spent.total <= budget for each in found)
        single = made.decode(tiny_policy, tiny_asks[:6], budget, rows=1)
        assert [[t.ids for t in each.traces] for each in found] == [[t.ids for t in each.traces] for each in single]
        assert [each.answer for each in found] == [each.answer for each in single]


@pytest.mark.parametrize("settings", [{"k": 0}, {"max_tokens": 0}, {"pick": "most"}, {"k": 1.5}])
def test_bad_settings_are_refused_in_one_line(settings):
    with pytest.raises(ValueError, match=rf"^cot_decoding: .*{next(iter(settings))}=[^\n]+$"):
        build("cot_decoding", **settings)
