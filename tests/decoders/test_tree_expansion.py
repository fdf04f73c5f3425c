"""EPTree: leaves by its formula, a tree by hand, what is never branched at, the budget and the count."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_model import END, PROMPT, A, B, C, X, fork_table, random_table, table_policy

from forkpoint.decoders import Ask, Markers, _machine, build
from forkpoint.decoders._branch_rules import leaves

ASK = Ask("p", (PROMPT,))


@pytest.mark.parametrize(("counts", "num"), [((6, 2, 2, 1), 30), ((8, 4, 1, 2), 72), ((3, 2, 2, 0), 3)])
def test_a_forest_has_as_many_leaves_as_the_formula_says(counts, num):
    chains, positions, continuations, rounds = counts
    made = build(
        "tree_expansion", chains=chains, positions=positions, continuations=continuations, rounds=rounds, max_tokens=12
    )
    (found,) = made.decode(table_policy(random_table(ends=0)), [ASK], 100_000)
    assert len(found.traces) == leaves(*counts) == num
    sources = [trace.source for trace in found.traces]
    assert {sources.count(tree) for tree in range(1, chains + 1)} == {num // chains}


@pytest.mark.parametrize("by", ["entropy", "surprisal"])
def test_a_tree_worked_by_hand(by):
    """One chain is uncertain after ``a`` alone; two go on from there."""
    policy = table_policy(fork_table)
    made = build("tree_expansion", chains=1, positions=1, by=by, max_tokens=10, temperature=1.0, top_p=1.0)
    (found,) = made.decode(policy, [ASK], 100)
    root, *others = found.traces
    assert root.shared == 0 and [trace.shared for trace in others] == [1, 1]
    assert [trace.reread for trace in found.traces] == [0, 2, 0], "prompt and prefix once, for both"
    assert {trace.ids for trace in found.traces} <= {(A, B, END), (A, C, X, END)}
    assert found.spent.prompt + found.spent.reread == sum(policy.model.read) == 3
    assert found.spent.kept == sum(len(trace.ids) for trace in found.traces) - 2


def test_answers_and_first_tokens_of_branches_are_never_branched_at():
    """The root's uncertain token; its certain first one; then the uncertain one of the branch that began there."""

    def table(read):
        done = read[1:]
        return {A: 1.0} if not done else fork_table(read) if len(done) < 3 else {A: 0.25, B: 0.25, C: 0.25, X: 0.25}

    policy = table_policy(lambda read: {X: 1.0} if len(read) == 3 else table(read), Markers(end=(X,)))
    made = build("tree_expansion", chains=1, positions=1, rounds=3, continuations=1, max_tokens=8, by="entropy")
    (found,) = made.decode(policy, [ASK], 1000)
    assert [trace.thinking for trace in found.traces] == [3] * 4
    assert [trace.shared for trace in found.traces] == [0, 1, 0, 1]
    assert all(0 < len(t.entropy) == len(t.logps) == t.generated for t in found.traces)


def test_chains_that_are_not_branched_at_are_told():
    policy = table_policy(fork_table)

    def note(budget, **settings):
        made = build("tree_expansion", chains=1, positions=1, max_tokens=10, **settings)
        return made.decode(policy, [ASK], budget)[0].note

    assert note(100) == note(100, rounds=0) == ""
    assert note(8) == "the budget paid for no branch, so all are plain chains"
    assert note(100, threshold=9.0) == "no token could be branched at, so all are plain chains"


@settings(max_examples=40)
@given(
    over=st.integers(1, 200),
    chains=st.integers(1, 3),
    positions=st.integers(1, 3),
    continuations=st.integers(1, 3),
    rounds=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_every_token_is_counted_and_the_budget_holds(over, chains, positions, continuations, rounds, seed):
    policy = table_policy(random_table())
    made = build(
        "tree_expansion", chains=chains, positions=positions, continuations=continuations, rounds=rounds, max_tokens=20
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_machine, "DROP_BELOW", 2.0)  # a finished row is fed no more
        (found,) = made.decode(policy, [ASK], 1 + over, seed=seed)
    assert found.spent.total <= 1 + over
    assert sum(t.generated for t in found.traces) == sum(policy.model.fed) + len(found.traces)
    # two forks of equal prefixes are read once and counted twice
    assert found.spent.prompt + found.spent.reread >= sum(policy.model.read)
    assert len(found.traces) <= leaves(chains, positions, continuations, rounds)


def test_rows_side_by_side_change_nothing(tiny_policy, tiny_asks):
    made = build("tree_expansion", chains=2, max_tokens=56)
    one, many = (made.decode(tiny_policy, tiny_asks, 200, seed=1, rows=rows) for rows in (1, 256))
    assert [[t.ids for t in d.traces] for d in one] == [[t.ids for t in d.traces] for d in many]
    assert [d.spent for d in one] == [d.spent for d in many]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"chains": 0}, "chains=0"),
        ({"rounds": -1}, "rounds=-1"),
        ({"by": "luck"}, "by='luck': choose 'entropy' or 'surprisal'"),
        ({"max_tokens": 0}, "max_tokens=0"),
    ],
)
def test_bad_settings_are_refused_in_one_line(setting, says):
    with pytest.raises(ValueError, match=says) as refused:
        build("tree_expansion", **setting)
    assert "\n" not in str(refused.value)
