"""SwiReasoning: modes and inputs worked by hand on scripted logits, the cap, greedy where nothing is mixed."""

from random import Random

import pytest
import torch

from forkpoint.decoders import Ask, Markers, _lanes, build

END, A, B, BEGIN, OVER, LAST = range(6)
WORDS = ["", "a", "b", "begin", "over", "last"]
CHAT = Markers(end=(OVER,), begin=(BEGIN,))
# entropies .673, .693, .325, .500, .500, .611
SHARES = [0.6, 0.5, 0.9, 0.8, 0.8, 0.7]


@pytest.fixture
def watched(scripted_policy, scripted_logits):
    """A policy of ``SHARES`` for a against b by place, then the end; and the list of what it has read."""

    def make(markers: Markers):
        reads = []

        def rule(read):
            reads.append(read)
            place = len(read) - 1
            if place == len(SHARES):
                return scripted_logits(WORDS, end=1.0)
            return scripted_logits(WORDS, a=SHARES[place] + 1e-5, b=1 - SHARES[place])

        return scripted_policy(rule, WORDS, markers), reads

    return make


def weights(**p: float) -> list[float]:
    return [p.get(word or "end", 0.0) for word in WORDS]


def decode(policy, prompt: int, **settings):
    (found,) = build("swi_reasoning", top_k=1, **settings).decode(policy, [Ask("p", (prompt,))], 11)
    return found.traces[0]


def close(read, expected):
    assert read.tolist() == [pytest.approx(row, abs=1e-4) for row in expected]


def test_the_inputs_of_both_modes_and_of_the_switches(watched):
    policy, reads = watched(CHAT)
    trace = decode(policy, BEGIN, dwell=2, alpha=0.5)
    assert (trace.text, trace.finish, len(trace.ids), trace.forced) == ("a a a a a a", "end", 7, 0)
    beta, alpha = 0.7 + 0.3 * 2 / 10, 0.5 + 0.5 * 4 / 10
    close(
        reads[-1],
        [
            weights(begin=1.0),
            weights(a=0.6, b=0.4),  # the reference is .673
            weights(a=0.5, b=0.5),
            weights(a=0.9 * beta, b=0.1 * beta, over=1 - beta),  # surer, so tokens; the reference is .325
            weights(a=1.0),  # less sure, but for one step only
            weights(a=0.8 * alpha, b=0.2 * alpha, begin=1 - alpha),  # soft again
            weights(a=0.7, b=0.3),
        ],
    )


def test_without_a_begin_marker_entering_soft_mixes_nothing_in(watched):
    policy, reads = watched(Markers(end=(OVER, LAST)))
    decode(policy, A, dwell=2, alpha=0.5)
    beta = 0.7 + 0.3 * 2 / 10
    # a marker of two tokens is mixed in as the mean of both
    close(reads[-1][3:4], [weights(a=0.9 * beta, b=0.1 * beta, over=(1 - beta) / 2, last=(1 - beta) / 2)])
    close(reads[-1][5:6], [weights(a=0.8, b=0.2)])


def test_the_likeliest_ids_alone(watched):
    policy, reads = watched(CHAT)
    decode(policy, BEGIN, dwell=2, max_topk=1, beta=1.0)
    close(reads[-1], [weights(begin=1.0), *[weights(a=1.0)] * 6])


def test_the_mode_waits_out_its_dwell(watched):
    policy, reads = watched(CHAT)
    decode(policy, BEGIN, dwell=3, beta=1.0)
    assert [float(row.max()) for row in reads[-1][3:]] == pytest.approx([0.9, 1, 1, 0.7], abs=1e-4)
    policy, reads = watched(CHAT)
    decode(policy, BEGIN, dwell=512, beta=1.0)
    assert [float(row.max()) for row in reads[-1][3:]] == pytest.approx([0.9, 1, 1, 1], abs=1e-4)


def test_at_the_cap_thinking_ends_and_what_follows_is_tokens(watched):
    policy, reads = watched(Markers(end=(OVER, LAST)))
    trace = decode(policy, A, dwell=0, cap=1)
    assert (trace.text, trace.forced, trace.thinking) == ("a a over last a a", 2, 4)
    assert all(float(row.max()) == 1.0 for row in reads[-1][3:])
    # the second switch is not reached
    policy, _ = watched(Markers(end=(OVER, LAST)))
    assert decode(policy, A, dwell=512, cap=2).forced == 0


def test_past_twice_the_cap_it_stops(scripted_policy, scripted_logits):
    """Three places a round: less sure, surer (a switch, so the marker is put), and thinking begins again."""

    def rule(read):
        place = (len(read) - 1) % 3
        if place == 2:
            return scripted_logits(WORDS, begin=0.9, b=0.1)
        return scripted_logits(WORDS, a=(0.6, 0.9)[place], b=(0.4, 0.1)[place])

    policy = scripted_policy(rule, WORDS, CHAT)
    made = build("swi_reasoning", top_k=1, dwell=0, cap=1, last=2)
    (trace,) = made.decode(policy, [Ask("p", (BEGIN,))], 99)[0].traces
    assert trace.text == "a over begin a over begin a over begin a"
    assert (trace.finish, trace.forced) == ("stopped", 3)
    # switches 1 to 2C only end thinking
    (trace,) = (
        build("swi_reasoning", top_k=1, dwell=0, cap=3, last=2).decode(policy, [Ask("p", (BEGIN,))], 16)[0].traces
    )
    assert (trace.finish, trace.forced) == ("limit", 3)


def test_with_nothing_mixed_it_is_greedy(tiny_policy, tiny_asks):
    greedy = build("greedy").decode(tiny_policy, tiny_asks, 70)
    alone = build("swi_reasoning", top_k=1, max_topk=1, beta=1.0, dwell=3).decode(tiny_policy, tiny_asks, 70)
    assert [found.traces[0].ids for found in alone] == [found.traces[0].ids for found in greedy]
    mixed = build("swi_reasoning", top_k=1, dwell=3).decode(tiny_policy, tiny_asks, 70)
    assert [found.traces[0].ids for found in mixed] != [found.traces[0].ids for found in greedy]


def test_a_table_for_all_rows_reads_the_same_mixture(tiny_policy, monkeypatch):
    ids, p = torch.tensor([[5, 7, 5], [9, 1, 2]]), torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.3, 0.2]])
    found = []
    for wide in (0, 64):
        monkeypatch.setattr(_lanes, "WIDE", wide)
        lanes = _lanes.Lanes(tiny_policy, [(1, 2, 3), (4,)], [1, 1])
        lanes.feed(ids[:, 0], (ids, p))
        found.append(lanes.logits)
    assert torch.allclose(*found, atol=1e-4)


def test_no_budget_is_passed_and_rows_do_not_matter(tiny_policy, tiny_asks):
    random = Random(2)
    for _ in range(3):
        made = build("swi_reasoning", dwell=random.randint(0, 6), alpha=0.5, cap=random.randint(0, 3), last=4)
        budget = random.randint(8, 100)
        found = made.decode(tiny_policy, tiny_asks[:6], budget, seed=budget)
        assert all(each.spent.total <= budget for each in found)
        single = made.decode(tiny_policy, tiny_asks[:6], budget, seed=budget, rows=1)
        assert [each.traces[0].ids for each in found] == [each.traces[0].ids for each in single]


def test_a_policy_without_markers_is_refused(scripted_policy, scripted_logits):
    policy = scripted_policy(lambda read: scripted_logits(WORDS, a=1.0), WORDS)
    with pytest.raises(ValueError, match=r"^swi_reasoning ends thinking at a marker, and this model"):
        build("swi_reasoning").decode(policy, [Ask("p", (A,))], 9)


@pytest.mark.parametrize(
    "settings",
    [{"dwell": -1}, {"alpha": 1.1}, {"beta": -0.1}, {"cap": -1}, {"last": 0}, {"max_topk": -1}, {"top_p": 0.0}],
)
def test_bad_settings_are_refused_in_one_line(settings):
    with pytest.raises(ValueError, match=rf"^swi_reasoning: [^\n]*{next(iter(settings))}=[^\n]+$"):
        build("swi_reasoning", **settings)
