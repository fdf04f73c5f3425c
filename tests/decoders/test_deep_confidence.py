"""DeepConf: golden confidences, stops worked by hand on scripted logits, what is kept, the budget."""

import math
from itertools import count
from random import Random

import pytest
import torch

from forkpoint.decoders import Ask, Trace, build
from forkpoint.decoders._confidence import score_of, token_confidence
from forkpoint.decoders._decoder import Decode
from forkpoint.decoders._machine import Row, complete
from forkpoint.decoders._next import Warp
from forkpoint.decoders.deep_confidence import Confident, Plan

END, A, B, C = range(4)
WORDS = ["", "a", "b", "c"]
SURE, UNSURE, FORK = {"a": 0.96, "b": 0.02, "c": 0.02}, {"a": 0.5, "b": 0.25, "c": 0.25}, {"a": 0.5001, "b": 0.4999}


def of_two(p: float, q: float) -> float:
    """The confidence over the two likeliest ids."""
    return -(math.log(p) + math.log(q)) / 2


@pytest.fixture
def forked(scripted_policy, scripted_logits):
    """The first word is a or b; after a the next four are sure, after b they are not; then it ends."""

    def rule(read):
        if len(read) == 6:
            return scripted_logits(WORDS, end=1.0)
        place = FORK if len(read) == 1 else SURE if read[1].argmax() == A else UNSURE
        return scripted_logits(WORDS, **place)

    return scripted_policy(rule, WORDS)


def plan(**changes) -> Plan:
    base = dict(mode="online", score="lowest", eta=50.0, window=2, warmup=2, wave=2, consensus=0.95, most=99)
    return Plan(**(base | changes))


def path(answer: str | None, *confidence: float, finish="end") -> Trace:
    return Trace((1,) * len(confidence), answer or "", answer, finish, confidence=confidence)


@pytest.mark.parametrize(("largest", "value"), [(0.05, 2.9957), (0.5, 3.4904), (0.98, 6.5146)])
def test_confidence_of_twenty_ids(largest, value):
    logp = torch.tensor([[largest] + [(1 - largest) / 19] * 19]).double().log()
    assert float(token_confidence(logp, 20)) == pytest.approx(value, abs=5e-5)
    # fewer ids than k: all; an id more with log-prob -12 does not count, as it does where engines return 21
    assert float(token_confidence(logp, 50)) == pytest.approx(value, abs=5e-5)
    more = torch.cat([logp, torch.tensor([[-12.0]])], 1)
    assert float(token_confidence(more, 20)) == pytest.approx(value, abs=5e-5)
    assert float(token_confidence(more, 21)) == pytest.approx((20 * value + 12) / 21, abs=5e-5)


def test_a_tenth_of_the_groups():
    rising = [float(i) for i in range(40)]
    # 39 groups of two, the lowest .5; a tenth of them is three: .5, 1.5, 2.5
    assert score_of(rising, 2, "bottom") == pytest.approx(1.5)
    assert score_of(rising, 99, "bottom") == score_of(rising, 99, "mean") == 19.5
    assert score_of([], 2, "tail") == 0.0


def lengths(policy, window: int, threshold: float) -> tuple[int, str]:
    # top_p leaves the likeliest alone: a, then a four times, then the end
    machine = Confident(Warp(top_p=0.01), "raw", window, 2)
    row = Row(Ask("p", (C,)), limit=20, threshold=threshold)
    (trace,) = complete(Decode(policy, [row.ask], 21), machine, [row])
    at = [of_two(0.5, 0.5), *[of_two(0.96, 0.02)] * 4]
    assert trace.confidence[:5] == pytest.approx(at[: len(trace.ids)], abs=1e-4)
    return len(trace.ids), trace.finish


def test_a_path_stops_at_the_first_group_below(forked):
    first, later = (of_two(0.5, 0.5) + of_two(0.96, 0.02)) / 2, of_two(0.96, 0.02)
    assert (round(first, 4), round(later, 4)) == (1.3348, 1.9764)
    assert lengths(forked, 2, first - 1e-3) == (6, "end")
    assert lengths(forked, 2, first + 1e-3) == (2, "stopped")
    assert lengths(forked, 1, of_two(0.5, 0.5) + 1e-3) == (1, "stopped")
    # a group is whole or it decides nothing
    assert lengths(forked, 4, 99.0) == (4, "stopped")
    assert lengths(forked, 6, 99.0) == (6, "end")
    assert lengths(forked, 99, 99.0) == (6, "end")
    # the last tokens and not the first: 2.3 is passed by none of the five, but by the end
    assert lengths(forked, 5, later - 0.1) == (5, "stopped")


def test_online_discards_what_its_warm_up_bars(forked):
    made = build("deep_confidence", eta=50, window=2, k=2, warmup=6, wave=4, consensus=1.0, max_tokens=6, max_paths=30)
    # every answer is another, so nothing is ever agreed on
    others = count()
    (found,) = made.decode(forked, [Ask("p", (C,), lambda text: str(next(others)))], 400, seed=1)
    low, high = (of_two(0.5, 0.5) + of_two(0.5, 0.25)) / 2, (of_two(0.5, 0.5) + of_two(0.96, 0.02)) / 2
    lowest = [min(high, low, key=lambda x, t=t: abs(x - score_of(t.confidence, 2, "lowest"))) for t in found.traces]
    bar = sorted(lowest[:6])
    threshold = (bar[2] + bar[3]) / 2
    assert low < threshold <= high + 1e-6
    for i, (trace, score) in enumerate(zip(found.traces, lowest, strict=True)):
        assert trace.kept == (score == high) == trace.text.startswith("a")
        assert (len(trace.ids), trace.finish) == ((6, "end") if trace.kept or i < 6 else (2, "stopped"))
    online = found.traces[6:]
    assert {trace.finish for trace in online} == {"end", "stopped"}
    assert found.spent.discarded == sum(len(trace.ids) for trace in found.traces if not trace.kept) > 6
    assert found.spent.total <= 400


def test_enough_is_enough(forked):
    """What is kept at eta 50 begins with a: all agree, so the warm-up is all that is spent."""

    def paths(eta: float, answer) -> int:
        made = build("deep_confidence", eta=eta, window=2, k=2, warmup=6, wave=4, max_tokens=6, max_paths=13)
        return len(made.decode(forked, [Ask("p", (C,), answer)], 400, seed=1)[0].traces)

    assert paths(50.0, lambda text: text[:1]) == 6
    # both kinds are kept, or no answer is found: to the last wave, which is cut to the most paths
    assert paths(100.0, lambda text: text[:1]) == 13
    assert paths(50.0, lambda text: None) == 13


def test_agreement_is_a_share_of_the_weight_that_is_kept():
    two = [path("1", 9.0, 9.0), path("2", 9.0, 9.0)]
    assert not plan().agreed(two)
    assert plan(consensus=0.5).agreed(two)
    # the second falls below the bar of the two, 6
    assert plan().agreed([path("1", 9.0, 9.0), path("2", 3.0, 3.0)])
    assert not plan(eta=100.0).agreed([path("1", 9.0, 9.0), path("2", 3.0, 3.0)])
    assert plan(eta=100.0, consensus=0.75).agreed([path("1", 9.0, 9.0), path("2", 3.0, 3.0)])
    assert not plan().agreed([path(None, 9.0, 9.0)] * 2)


def test_more_paths_follow_the_warm_up_in_waves():
    one, other = path("1", 9.0, 9.0), path("2", 9.0, 5.0)
    assert plan().more([]) == (2, -math.inf)
    assert plan(eta=100.0).more([one, other]) == (2, pytest.approx(7.0, abs=2e-5))
    assert plan(eta=100.0, most=3).more([one, other]) == (1, pytest.approx(7.0, abs=2e-5))
    # s is the warm-up's, whatever came later
    assert plan(eta=100.0).more([one, other, path("3", 1.0, 1.0)])[1] == pytest.approx(7.0, abs=2e-5)
    assert plan(mode="offline").more([one]) == (98, -math.inf)


def test_offline_keeps_the_surest_and_weighs_their_votes():
    paths = [path("1", 2.0, 9.0), path("2", 5.0, 5.0), path("2", 4.0, 4.0), path(None, 99.0)]
    ask = Ask("p", (1,))
    everything = plan(mode="offline", score="mean", eta=100.0).decided(ask, paths)
    assert (everything.answer, dict(everything.votes)) == ("2", {"1": 5.5, "2": 9.0})
    # the bar is that of paths with an answer: the surest of 5.5, 5, 4
    surest = plan(mode="offline", score="mean", eta=10.0).decided(ask, paths)
    assert (surest.answer, dict(surest.votes)) == ("1", {"1": 5.5})
    assert dict(plan(mode="offline", score="tail", window=1, eta=10.0).decided(ask, paths).votes) == {"1": 9.0}
    assert dict(plan(mode="offline", score="lowest", window=1, eta=10.0).decided(ask, paths).votes) == {"2": 5.0}


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_path_that_its_limit_cut_displaces_no_answer(mode):
    """The stub is surer than the one path that answers; it has no vote, so it sets no bar."""
    paths = [path("1", 5.0, 5.0), path(None, 9.0, finish="limit")]
    for eta in (10.0, 90.0, 100.0):
        assert plan(mode=mode, eta=eta).decided(Ask("p", (1,)), paths).answer == "1"


def test_a_warm_up_without_answers_bars_nothing():
    stubs = [path(None, 9.0, finish="limit"), path(None, 8.0, finish="limit")]
    assert plan().more(stubs) == (2, -math.inf)
    found = plan().decided(Ask("p", (1,)), [*stubs, path("1", 5.0, 5.0), path("2", 4.0, 4.0)])
    assert found.answer == "1" and found.note == "no warm-up path answered, so none could be stopped early"


def test_why_none_could_be_stopped_is_said():
    split = [path("1", 9.0, 9.0), path("2", 9.0, 9.0)]

    def note(traces, **changes) -> str:
        return plan(eta=100.0, **changes).decided(Ask("p", (1,)), traces).note

    assert note(split * 2, window=3) == "no path was as long as window=3, so none was stopped"
    assert note(split, warmup=9) == "all paths were of the warm-up (warmup=9), so none could be stopped early"
    assert note(split * 2, window=2) == note(split * 2, window=3, mode="offline") == ""
    # enough agreed: nothing was left to stop
    assert note(split[:1] * 2, window=3) == ""


def test_no_budget_is_passed_and_rows_do_not_matter(tiny_policy, tiny_asks):
    random = Random(1)
    for mode in ("online", "offline") * 3:
        budget, tokens = random.randint(8, 250), random.randint(1, 60)
        made = build("deep_confidence", mode=mode, max_tokens=tokens, warmup=2, wave=2, window=6, eta=50)
        found = made.decode(tiny_policy, tiny_asks[:5], budget, seed=budget)
        assert all(each.spent.total <= budget for each in found)
        single = made.decode(tiny_policy, tiny_asks[:5], budget, seed=budget, rows=1)
        assert [[t.ids for t in each.traces] for each in found] == [[t.ids for t in each.traces] for each in single]
        assert [[t.kept for t in each.traces] for each in found] == [[t.kept for t in each.traces] for each in single]
        assert [each.answer for each in found] == [each.answer for each in single]


@pytest.mark.parametrize(
    "settings",
    [
        *({"mode": "on"}, {"score": "median"}, {"eta": 0}, {"eta": 101}, {"consensus": 0}, {"window": 0}, {"k": 0}),
        *({"warmup": 0}, {"wave": 0}, {"max_tokens": 0}, {"max_paths": 0}, {"temperature": 0}),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings):
    with pytest.raises(ValueError, match=rf"^deep_confidence: [^\n]*{next(iter(settings))}=[^\n]+$"):
        build("deep_confidence", **settings)
