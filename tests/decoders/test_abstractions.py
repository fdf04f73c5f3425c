"""Abstractions: rewards, the grid of m by k, generators from outside, the control, the budget and the count."""

import re
import sys
from dataclasses import replace
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_model import END, PROMPT, A, B, C, X, random_table, table_policy

from forkpoint.decoders import Ask, _machine, build
from forkpoint.decoders.abstractions import reward_of_abstraction, reward_of_solution

ASK = Ask("p", (PROMPT,))


def two_ways(read):
    """``b`` or ``c``, then ``x`` and the end."""
    done = read[read.index(PROMPT) + 1 :]
    return {B: 0.5, C: 0.5} if not done else {X: 1.0} if done[-1] != X else {END: 1.0}


@pytest.fixture
def generators(monkeypatch):
    module = ModuleType("generators_for_a_test")
    monkeypatch.setitem(sys.modules, "generators_for_a_test", module)
    return module


def test_rewards_follow_the_truth_table():
    table = {(True, True): 0, (False, True): 1, (True, False): 0, (False, False): 0}
    assert {case: reward_of_solution(*case) for case in table} == table
    assert reward_of_abstraction([True, True, False, False]) == 0.5


def test_a_grid_worked_by_hand():
    policy = table_policy(two_ways)
    (found,) = build("abstractions", m=2, k=2, opening=1, max_tokens=5).decode(policy, [ASK], 100)
    begun = [trace for trace in found.traces if not trace.kept]
    solved = [trace for trace in found.traces if trace.kept]
    assert {trace.ids for trace in begun} == {(B,), (C,)}
    assert [(t.source, t.shared, t.reread) for t in solved] == [(1, 1, 2), (1, 1, 0), (2, 1, 2), (2, 1, 0)]
    assert {t.ids for t in solved if t.source == 1} | {t.ids for t in solved if t.source == 2} == {
        (B, X, END),
        (C, X, END),
    }
    assert found.spent.kept == 8 and found.spent.discarded == len(begun)
    assert found.spent.prompt + found.spent.reread >= sum(policy.model.read)
    assert found.votes == {"b x": 2.0, "c x": 2.0}


def test_without_abstractions_it_is_the_vote_of_plain_samples(tiny_policy, tiny_asks):
    control = build("abstractions", m=0, k=3, max_tokens=56).decode(tiny_policy, tiny_asks, 200, seed=2)
    plain = build("parallel_vote", max_paths=3, max_tokens=56).decode(tiny_policy, tiny_asks, 200, seed=2)
    assert [(d.answer, d.spent, d.traces) for d in control] == [(d.answer, d.spent, d.traces) for d in plain]


def test_texts_from_a_generator_stand_behind_the_prompt(generators):
    asked = []
    generators.two = lambda prompt, m, seed: asked.append((prompt, m, seed)) or ["a b", "c", "c"][: m + 1]
    policy = table_policy(two_ways)
    made = build(
        "abstractions", m=3, k=2, generator="generators_for_a_test:two", template="{abstraction} x", max_tokens=5
    )
    (found,) = made.decode(policy, [ASK], 100, seed=7)
    assert asked == [("?", 3, 7)]
    proposed, solved = found.traces[:2], found.traces[2:]
    assert [(t.ids, t.text, t.source, t.kept) for t in proposed] == [((A, B), "a b", 1, False), ((C,), "c", 2, False)]
    # after "? a b x" and after "? c x" this model has nothing to add
    assert [(t.ids, t.source, t.reread) for t in solved] == [
        ((END,), 1, 4),
        ((END,), 1, 0),
        ((END,), 2, 3),
        ((END,), 2, 0),
    ]
    assert found.spent == (1, 7, 4, 3)


@pytest.mark.parametrize("returned", ["a b", ["a", "b", "c"], [1]])
def test_what_is_no_list_of_texts_is_refused(generators, returned):
    generators.bad = lambda prompt, m, seed: returned
    made = build("abstractions", m=2, generator="generators_for_a_test:bad", max_tokens=20)
    with pytest.raises(ValueError, match=r"^abstractions: the generator must return at most 2 texts; it returned "):
        made.decode(table_policy(two_ways), [ASK], 100)


def test_a_budget_without_room_for_abstractions_gives_plain_samples():
    (found,) = build("abstractions", m=2, opening=2, max_tokens=20).decode(table_policy(two_ways), [ASK], 12)
    assert {trace.source for trace in found.traces} == {0} and found.answer in ("b x", "c x")


def test_where_no_solution_has_an_abstraction_the_answer_says_why():
    policy = table_policy(two_ways)

    def note(budget, **settings):
        return build("abstractions", m=2, max_tokens=20, **settings).decode(policy, [ASK], budget)[0].note

    assert note(12, opening=2) == "no abstraction within the budget, so all are plain samples"
    assert note(200, opening=9) == "every opening was a whole completion, so none was gone on from"
    assert note(200, opening=1) == ""
    assert build("abstractions", m=0, max_tokens=20).decode(policy, [ASK], 12)[0].note == "", "none was wanted"


def test_a_text_that_is_longer_than_context_and_budget_is_left_out(generators):
    generators.long = lambda prompt, m, seed: ["a " * 40]
    made = build("abstractions", m=1, generator="generators_for_a_test:long", max_tokens=5)
    (found,) = made.decode(replace(table_policy(two_ways), context=30), [ASK], 29)
    assert found.note == "no abstraction within the budget, so all are plain samples"


def test_a_text_that_fills_the_context_is_left_out_whatever_the_budget(generators):
    generators.one, generators.two = lambda *asked: ["a " * 29], lambda *asked: ["a " * 40, "b"]
    policy = replace(table_policy(two_ways), context=30)

    def solved(name):
        made = build("abstractions", m=2, k=1, generator=f"generators_for_a_test:{name}", max_tokens=5)
        return made.decode(policy, [ASK], 300)[0]

    found, none = solved("two"), solved("one")
    assert [(t.text, t.source) for t in found.traces if not t.kept] == [("b", 2)] and found.note == ""
    assert none.note == "no abstraction within budget and context, so all are plain samples"
    assert {trace.source for trace in none.traces} == {0} and none.answer


def test_a_generator_that_gives_no_text_is_told_from_a_budget(generators):
    generators.none = lambda prompt, m, seed: []
    made = build("abstractions", m=2, generator="generators_for_a_test:none", max_tokens=5)
    (found,) = made.decode(table_policy(two_ways), [ASK], 300)
    assert found.note == "the generator gave no abstraction, so all are plain samples" and found.answer


@settings(max_examples=40)
@given(
    over=st.integers(1, 200),
    m=st.integers(0, 3),
    k=st.integers(1, 3),
    opening=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_every_token_is_counted_and_the_budget_holds(over, m, k, opening, seed):
    policy = table_policy(random_table())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_machine, "DROP_BELOW", 2.0)  # a finished row is fed no more
        made = build("abstractions", m=m, k=k, opening=opening, max_tokens=20)
        (found,) = made.decode(policy, [ASK], 1 + over, seed=seed)
    assert found.spent.total <= 1 + over and found.traces
    assert sum(t.generated for t in found.traces) == sum(policy.model.fed) + len(found.traces)
    assert found.spent.prompt + found.spent.reread >= sum(policy.model.read)


def test_rows_side_by_side_change_nothing(tiny_policy, tiny_asks):
    made = build("abstractions", m=2, k=2, opening=4, max_tokens=56)
    one, many = (made.decode(tiny_policy, tiny_asks, 200, seed=1, rows=rows) for rows in (1, 256))
    assert [[t.ids for t in d.traces] for d in one] == [[t.ids for t in d.traces] for d in many]
    assert [d.spent for d in one] == [d.spent for d in many]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"m": -1}, "m=-1"),
        ({"k": 0}, "k=0"),
        ({"opening": 30, "max_tokens": 30}, "must leave some for the solution"),
        ({"template": "hint"}, "template='hint': it must hold {abstraction}"),
        ({"generator": "mine"}, "generator='mine': choose 'opening', or give a function as 'module:function'"),
    ],
)
def test_bad_settings_are_refused_in_one_line(setting, says):
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        build("abstractions", **setting)
    assert "\n" not in str(refused.value)
