"""Which tokens are thinking where a model begins it by itself; who reads them; what is said where none is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_model import END, PROMPT, A, B, C, X, random_table, table_policy

from forkpoint import catalog
from forkpoint.decoders import Ask, Markers, Thinks, build, load_policy, thought
from forkpoint.recipes._paths import Many, asks, last_steps
from forkpoint.tasks import Thinking, first_problems

ASK = Ask("p", (PROMPT,))
ONE, TWO = Markers(end=(X,), begin=(A,)), Markers(end=(X, C), begin=(A, B))
# b, a thought of two, c, a thought of one, c; and the same with markers of two
TWICE = [
    (ONE, (B, A, B, C, X, C, A, B, X, C, END), "..TTT..TT.."),
    (TWO, (B, A, B, C, B, X, C, C, A, B, B, X, C, C, END), "...TTTT...TTT.."),
]


@pytest.fixture(params=TWICE, ids=["one token", "two tokens"])
def twice(request):
    """A policy that thinks twice, after a preamble; its ids; which of them are thinking."""
    markers, ids, marks = request.param
    return table_policy(lambda read: {ids[len(read) - 1]: 1.0}, markers), ids, tuple(mark == "T" for mark in marks)


@pytest.mark.parametrize("name", ["sample", "entropy_branching", "tree_expansion", "abstractions", "cot_decoding"])
def test_places_of_two_thoughts_behind_a_preamble(name, twice):
    policy, ids, where = twice
    about = {"abstractions": {"opening": 5}, "cot_decoding": {"k": 1}}.get(name, {})
    (found,) = build(name, **about).decode(policy, [ASK], 4000)
    whole = [trace for trace in found.traces if len(trace.ids) == len(ids)]
    assert whole and all(trace.ids == ids and trace.thought == where for trace in whole)
    assert {trace.thinking for trace in whole} == {sum(where)}


MARKER = st.lists(st.sampled_from((A, B, C, X)), min_size=1, max_size=2).map(tuple)


@settings(max_examples=60)
@given(
    name=st.sampled_from(["parallel_vote", "tree_expansion", "abstractions", "entropy_branching", "entropy_stop"]),
    begin=st.just(()) | MARKER,
    end=MARKER,
    given_up=st.dictionaries(MARKER, MARKER, max_size=1),
    prompt=st.lists(st.sampled_from((A, B, C, X)), max_size=4),
    seed=st.integers(0, 99),
)
def test_what_is_recorded_is_what_the_ids_say(name, begin, end, given_up, prompt, seed):
    """Also of prefixes, where one marker ends in another, and of what stands in the prompt."""
    markers = Markers(end=end, begin=begin, given_up=given_up)
    ask = Ask("p", (PROMPT, *prompt))
    about = {"tree_expansion": {"max_tokens": 20}, "abstractions": {"opening": 6, "max_tokens": 20}}.get(name, {})
    about |= {"entropy_branching": {"segment": 4, "max_tokens": 20}, "entropy_stop": {"window": 2}}.get(name, {})
    (found,) = build(name, **about).decode(table_policy(random_table(), markers), [ask], 150, seed=seed)
    for trace in found.traces:
        assert trace.thought == thought(markers, ask.prompt, trace.ids)


@pytest.mark.parametrize(("begin", "end"), [((5,), (4, 5)), ((4, 5), (5,))])
def test_of_two_markers_that_end_alike_the_longer_is_meant(begin, end):
    found = []
    for written in ((1, 5, 1), (4, 5, 1)):
        row = Thinks(Markers(end=end, begin=begin))
        found.append([row.take(token) for token in (*begin, *written)][len(begin) :])
    assert found == ([[True] * 3, [True, False, False]] if len(end) > 1 else [[True, False, False], [True] * 3])


@settings(max_examples=20)
@given(markers=st.sampled_from([ONE, TWO]), seed=st.integers(0, 99), by=st.sampled_from(["entropy", "surprisal"]))
def test_a_tree_branches_at_thinking_tokens_alone(markers, seed, by):
    policy = table_policy(random_table(ends=0.02), markers)
    made = build("tree_expansion", chains=3, rounds=2, by=by, max_tokens=30, temperature=1.5, top_p=1.0)
    (found,) = made.decode(policy, [ASK], 3000, seed=seed)
    roots = {trace.source: trace for trace in reversed(found.traces) if not trace.shared}
    for trace in found.traces:
        if trace.shared and any(roots[trace.source].thought):
            assert trace.thought[trace.shared], "the place is as much thinking in the branch as it was in its parent"


def thinkers():
    found = [name for name in catalog.names("decoders") if build(name).thinks]
    return [*found, *(f"{name}+parallel_vote" for name in found)]


@pytest.mark.parametrize("name", thinkers())
def test_a_decoder_of_thinking_says_where_there_was_none(name, tiny_asks):
    """With a begin that the tiny policy never writes it only samples; with one that it writes at times it says less."""
    never, at_times = (load_policy("tiny", Thinking("yes answer", "no try", begin)) for begin in ("(", "no"))
    same = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_tokens": 40}

    def decode(name, policy):
        made = {setting: value for setting, value in same.items() if setting in build(name).settings}
        return build(name, **made).decode(policy, tiny_asks, 120)

    note, found = "no completion has a token of thinking, so all are plain completions", decode(name, never)
    plain = decode(name.replace(name.partition("+")[0], "sample"), never)
    assert [[trace.ids for trace in one.traces] for one in found] == [[t.ids for t in one.traces] for one in plain]
    assert {one.note for one in found} == {note} and {one.note for one in plain} == {""}
    found = decode(name, at_times)
    assert all((one.note == note) == (not any(t.thinking for t in one.traces)) for one in found)
    assert "" in {one.note for one in found}


def test_a_tree_branches_anywhere_in_a_chain_that_never_thinks():
    """Where its prompt begins and ends the thinking, and where nothing begins it."""
    made = build("tree_expansion", chains=3, rounds=2, max_tokens=20)

    def ids(markers, prompt):
        (found,) = made.decode(table_policy(random_table(), markers), [Ask("p", prompt)], 3000)
        assert not any(trace.thinking for trace in found.traces) and not found.note
        return [trace.ids for trace in found.traces]

    assert ids(Markers(end=(C,), begin=(PROMPT,)), (PROMPT, C)) == ids(None, (PROMPT, C))
    assert ids(Markers(end=(C,), begin=(PROMPT, PROMPT)), (PROMPT,)) == ids(None, (PROMPT,))


@pytest.mark.parametrize(("begin", "window"), [("no", 2), ("no", 6), ("no try", 4)])
def test_an_early_stop_is_calibrated_by_the_last_tokens_of_thinking(begin, window, countdown):
    """The tiny policy, whose thought is held to begin at its second try: the first is a preamble."""
    policy = load_policy("tiny", Thinking(end="yes answer", begin=begin))
    problems, many = first_problems(countdown, 12), Many(4, 56)
    sample = build("sample", temperature=1.0)
    right, wrong = last_steps(policy, sample, countdown, problems, many, window)
    expected = []
    asked = asks(policy, countdown, problems)
    made = build("sample+parallel_vote", temperature=1.0, max_tokens=56, max_paths=4)
    for one in made.decode(policy, asked, max(len(ask.prompt) for ask in asked) + 4 * 56):
        for trace in one.traces:
            words, entropies = trace.text.split(), trace.entropy
            start = next((i for i in range(len(words)) if " ".join(words[: i + 1]).endswith(begin)), len(words)) + 1
            ends = [i + 2 for i in range(start, len(words) - 1) if words[i : i + 2] == ["yes", "answer"]]
            end = ends[0] if ends else len(trace.ids)
            if end - start >= window:
                expected.append(sum(entropies[end - window : end]) / window)
    assert len(expected) > 20 and sorted(right + wrong) == pytest.approx(sorted(expected))
