"""Entropy-gated branching: a tree by hand, the budget, the count, scorers, and other branchers' rules."""

import math
import re
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_model import END, PROMPT, A, B, C, X, fork_table, random_table, table_policy

from forkpoint.decoders import Ask, build
from forkpoint.decoders._branch_rules import advantage_factors, branch_probability, leaves, sharpened, value_changes

BY_HAND = {"threshold": 0.5, "expansions": 2, "beams": 2, "segment": 1}


def by_hand(budget, **more):
    policy = table_policy(fork_table)
    (found,) = build("entropy_branching", **BY_HAND | more).decode(policy, [Ask("p", (PROMPT,))], budget)
    return found, policy.model


def shape(found):
    return {(trace.ids, trace.finish, trace.generated) for trace in found.traces}


def test_a_tree_worked_by_hand():
    """Two rows take ``a``; both fork (ln 2 > .5); of four equal scores the first row's two stay, and end."""
    found, model = by_hand(100)
    kept, pruned = found.traces[:2], found.traces[2:]
    assert {t.ids: t.kept for t in kept} == {(A, B, END): False, (A, C, X, END): True}, "the best alone is let vote"
    assert {t.ids for t in kept} == {(A, B, END), (A, C, X, END)} and {t.ids for t in pruned} == {(A, B), (A, C)}
    assert [t.finish for t in found.traces] == ["end", "end", "pruned", "pruned"]
    assert sorted(t.shared for t in kept) == sorted(t.shared for t in pruned) == [0, 1]
    # 2 and 4 tokens while there are two rows and four, then x and an end, then an end
    # the answer's four are kept; of the other row, which may not vote, two are its own
    assert found.spent == (1, 0, 4, 5)
    assert model.read == [1] and model.fed == [2, 2, 1]
    # ln .5 over four tokens is more than over three
    assert found.answer == "a c x"
    assert {t.answer: t.logp for t in kept} == pytest.approx({"a b": math.log(0.5), "a c x": math.log(0.5)})
    for trace in found.traces:
        assert len(trace.entropy) == len(trace.logps) == trace.generated
    assert sorted(kept[0].entropy + kept[1].entropy) == pytest.approx([0, 0, 0, 0, math.log(2), math.log(2)], abs=1e-6)


def test_a_row_that_the_budget_stops_ends_with_limit():
    found, _ = by_hand(1 + 8)
    assert ((A, C, X), "limit") in {(t.ids, t.finish) for t in found.traces}
    assert found.spent.total == 9 and found.answer == "a b"


def test_rows_fork_as_wide_as_the_budget_pays():
    """Three tokens are left for two rows: the first forks, the second does not."""
    found, _ = by_hand(1 + 5)
    assert found.spent.total == 6
    assert sorted(t.finish for t in found.traces) == ["limit", "limit", "pruned"]


def test_the_worst_are_dropped_so_that_the_others_can_go_on():
    """Of seven tokens two rows take two, then four; one is left, for one of four equal scores."""
    found, _ = by_hand(1 + 7, beams=4)
    assert found.spent.total == 8
    assert [t.finish for t in found.traces].count("pruned") == 3 and len(found.traces) == 4


def test_rows_that_do_not_fork_are_told():
    assert by_hand(100)[0].note == by_hand(100, expansions=1)[0].note == ""
    assert by_hand(100, segment=4)[0].note == "no row was longer than segment=4, so none forked"
    some = "no row forked: above threshold=5 was no token that the budget paid for"
    assert by_hand(100, threshold=5)[0].note == some


@pytest.mark.parametrize("final", ["best", "vote", "weighted"])
def test_votes_by_their_kind(final):
    votes = by_hand(100, final=final)[0].votes
    less = {"vote": 1.0, "weighted": math.exp(math.log(0.5) * (1 / 3 - 1 / 4))}
    assert votes == pytest.approx({"a c x": 1.0} | ({} if final == "best" else {"a b": less[final]}))


def test_a_scorer_from_outside_decides(monkeypatch):
    outside = ModuleType("scores_for_a_test")
    outside.short = lambda text, logps: -len(logps)
    outside.broken = lambda text, logps: math.nan
    monkeypatch.setitem(sys.modules, "scores_for_a_test", outside)
    assert by_hand(100, scorer="scores_for_a_test:short")[0].answer == "a b"
    with pytest.raises(ValueError, match=r"^scorer gave nan for a completion; it must give a finite number$"):
        by_hand(100, scorer="scores_for_a_test:broken")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"scorer": "mean"}, "scorer='mean': choose 'mean_logp', or give a function as 'module:function'"),
        ({"scorer": "no_such:thing"}, "scorer: cannot load 'no_such:thing': No module named 'no_such'"),
        ({"scorer": "math:pi"}, "scorer='math:pi': it is no function"),
        ({"threshold": -0.1}, "an entropy in nats, at least 0"),
        ({"beams": 0}, "beams=0"),
        ({"final": "worst"}, "final='worst': choose 'best' or 'vote' or 'weighted'"),
    ],
)
def test_bad_settings_are_refused_in_one_line(setting, says):
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        build("entropy_branching", **setting)
    assert "\n" not in str(refused.value) and str(refused.value).startswith("entropy_branching: ")


@settings(max_examples=60)
@given(
    over=st.integers(1, 120),
    threshold=st.floats(0, 1.6),
    expansions=st.integers(1, 4),
    beams=st.integers(1, 4),
    segment=st.integers(1, 9),
    longest=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_every_token_that_was_drawn_is_counted_and_none_is_drawn_over_budget(
    over, threshold, expansions, beams, segment, longest, seed
):
    policy = table_policy(random_table())
    rule = {"threshold": threshold, "expansions": expansions, "beams": beams, "segment": segment}
    made = build("entropy_branching", max_tokens=longest, **rule)
    asks = [Ask("p", (PROMPT,)), Ask("q", (PROMPT, A, B))]
    found = made.decode(policy, asks, 3 + over, seed=seed)
    assert all(one.spent.total <= 3 + over and not one.spent.reread for one in found)
    traces = [trace for one in found for trace in one.traces]
    # each row's last token is drawn and never fed
    assert sum(trace.generated for trace in traces) == sum(policy.model.fed) + len(traces)
    assert all(len(trace.ids) <= longest for trace in traces)
    assert all(any(trace.kept for trace in one.traces) for one in found)


def test_children_of_a_fork_differ_and_are_drawn_in_proportion():
    """Without replacement: of two children the first is ``b`` half of the time."""
    first = []
    for seed in range(200):
        policy = table_policy(fork_table)
        (found,) = build("entropy_branching", **BY_HAND).decode(policy, [Ask("p", (PROMPT,))], 1 + 6, seed=seed)
        first.append(next(t.ids[1] for t in found.traces if len(t.ids) > 1))
    assert {A, B, C} - {A} == set(first) and 70 <= first.count(B) <= 130


def test_rows_side_by_side_change_nothing(tiny_policy, tiny_asks):
    made = build("entropy_branching", threshold=0.3, segment=8)
    one, many = (made.decode(tiny_policy, tiny_asks, 128, seed=1, rows=rows) for rows in (1, 256))
    assert [[t.ids for t in d.traces] for d in one] == [[t.ids for t in d.traces] for d in many]


def test_published_branching_rules():
    assert [branch_probability(change) for change in (-1.0, 0.0, 1.0)] == pytest.approx([0.3, 0.5, 0.7])
    assert [branch_probability(change) for change in (-9.0, 9.0)] == [0, 1]
    changes = value_changes([0.25, 0.5, 0.25])
    assert changes == [0.75, 0.25, -0.25]
    assert advantage_factors(changes) == pytest.approx([0.4724, 0.7788, 1.2840], abs=5e-5)
    assert sharpened(changes) == pytest.approx([0.7221, 0.1390, -0.1390], abs=5e-5)
    assert advantage_factors(sharpened(changes)) == pytest.approx([0.4857, 0.8703, 1.1491], abs=5e-5)
    assert sharpened([0.0, 0.0]) == [0, 0]
    assert (leaves(6, 2, 2, 1), leaves(8, 4, 1, 2)) == (30, 72)
