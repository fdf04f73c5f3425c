"""Machines of single completions: worked numbers, the tokens that are put, and what a model is fed."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from table_model import PROMPT, A, fork_table, table_policy

from forkpoint import catalog
from forkpoint.decoders import Ask, Markers, build, load_policy
from forkpoint.decoders._lanes import Lanes
from forkpoint.decoders._machine import Look
from forkpoint.decoders._next import TEMPERATURES, Next, Warp, passed, pick
from forkpoint.decoders._stops import ColdStop
from forkpoint.decoders.entropy_stop import thresholds
from forkpoint.decoders.randomised_soft_thinking import dirichlet, gumbel_softmax
from forkpoint.decoders.soft_thinking import SoftThinking
from forkpoint.draws import uniform
from forkpoint.tasks import Thinking

TASK = catalog.get("tasks", "countdown")()
POLICY = load_policy("tiny", TASK.thinking)
PROBLEMS = list(islice(TASK.problems("test"), 48))
ASKS = [Ask(p.id, POLICY.encode(p.prompt), lambda text, p=p: TASK.answer(p, text)) for p in PROBLEMS]
END, AGAIN = POLICY.markers.end, POLICY.markers.again
Z = torch.tensor([[2.0, 1.0, 0.0, -1.0, -3.0]])


def traces(name, budget=86, **settings):
    return [one.traces[0] for one in build(name, **settings).decode(POLICY, ASKS, budget)]


def look_at(logits, num=1, **changes):
    about = {"at": 0, "thinking": torch.ones(num, dtype=torch.bool), "free": torch.ones(num, dtype=torch.bool)}
    about |= {"identity": np.arange(num), "seed": 0, "markers": POLICY.markers}
    return Look(next=Next(logits.expand(num, -1), changes.pop("warp", Warp())), **(about | changes))


# ---- baselines


def test_greedy_is_that_of_generate():
    lengths = {len(ask.prompt) for ask in ASKS}
    assert lengths == {6}
    ids = torch.tensor([ask.prompt for ask in ASKS])
    full = POLICY.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=80)
    for row, trace in zip(full[:, 6:].tolist(), traces("greedy"), strict=True):
        assert tuple(row[: len(trace.ids)]) == trace.ids
        assert set(row[len(trace.ids) :]) <= {POLICY.tokenizer.pad_token_id}


def test_a_draw_has_the_frequencies_of_the_filtered_distribution():
    """Of 20,000 draws each frequency lies within four standard errors."""
    num, here = 20_000, Next(Z.expand(20_000, -1), Warp(0.6, top_k=3, top_p=0.95))
    luck = torch.as_tensor(uniform(np.arange(num), np.zeros(num, dtype=int), (1, 0)))
    found = here.draw(luck).bincount(minlength=5) / num
    p = here.filtered[0].double()
    assert ((found - p).abs() <= 4 * (p * (1 - p) / num).sqrt()).all()


def test_a_token_of_probability_zero_is_never_picked():
    p = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]).expand(1001, -1)
    assert set(pick(p, torch.linspace(0, 1 - 1e-12, 1001, dtype=torch.float64)).tolist()) == {1, 3}


def test_the_four_entropies_of_the_same_logits():
    here = Next(Z, Warp(0.6, top_k=3, top_p=0.95))
    named = {name: round(float(here.entropy(name)), 4) for name in ("raw", "tempered", "filtered", "top20")}
    assert named == {"raw": 0.9713, "tempered": 0.5894, "filtered": 0.4378, "top20": 0.9713}


@settings(max_examples=300)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.sampled_from([0.05, 0.5, 0.9, 0.95, 1.0]),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.sampled_from(["apart", "tied", "masked"]),
)
def test_filters_are_transformers_own_in_their_order(seed, top_k, top_p, min_p, kind):
    """Also where ids tie with the last that top-k keeps, and where fewer than top-k may be drawn."""
    scores = torch.randn(3, 40, generator=torch.Generator().manual_seed(seed)) * 3
    if kind == "tied":
        scores = scores.round()
    if kind == "masked":
        scores[:, 5:] = -torch.inf
    warp = Warp(1.0, top_k, top_p, min_p)
    scores = theirs = scores.log_softmax(-1)
    for warper in warp.filters:
        theirs = warper(None, theirs)
    ours = passed(scores, warp)
    # which of two that tie top-p takes out is a matter of how they were sorted
    assert ours.sort().values.tolist() == theirs.sort().values.tolist()
    assert kind == "tied" or ours.tolist() == theirs.tolist()
    here = Next(scores, warp)
    assert torch.allclose(here.filtered, ours.softmax(-1), atol=1e-6)
    assert torch.allclose(here.filtered_logp.exp(), here.filtered, atol=1e-6)
    assert torch.allclose(here.entropy("filtered"), torch.special.entr(theirs.softmax(-1)).sum(-1), atol=1e-5)


def test_top20_renormalizes_and_is_bounded_by_ln_20():
    p = torch.tensor([[0.7, 0.1, *[0.2 / 18] * 18]])
    found = Next(p.log(), Warp()).entropy("top20")
    assert float(found) / np.log(2) == pytest.approx(1.99076, abs=1e-5)
    assert float(Next(torch.zeros(1, 500), Warp()).entropy("top20")) == pytest.approx(np.log(20))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 0.0])
def test_a_row_without_probabilities_gives_no_token(broken):
    p = torch.tensor([[0.5, 0.5], [broken, 0.0]])
    with pytest.raises(ValueError, match=r"^the probabilities of a row sum to (nan|inf|0\.0), so that none can"):
        pick(p, torch.tensor([0.1, 0.1]))


@pytest.mark.parametrize("temperature", [1e-40, 1e-320, 9e-7, 1e39])
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("sample", "temperature"),
        ("soft_thinking", "temperature"),
        ("parallel_vote", "temperature"),
        ("randomised_soft_thinking", "gumbel_temperature"),
    ],
)
def test_a_temperature_that_logits_overflow_at_is_refused(name, setting, temperature):
    with pytest.raises(
        ValueError, match=rf"^{name}: {setting}=.*: it must be from 1e-06 to 1e\+06(; greedy is a decoder of its own)?$"
    ):
        build(name, **{setting: temperature})


@pytest.mark.parametrize("family", ["sample", "randomised_soft_thinking"])
def test_the_coldest_temperature_is_greedy_and_the_hottest_decodes(family):
    cold, hot = ([*traces(family, temperature=t, top_p=1.0)] for t in TEMPERATURES)
    assert [trace.ids for trace in cold] == [trace.ids for trace in traces("greedy")]
    assert all(trace.ids for trace in hot)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"min_p": 1}]
)
def test_a_filter_out_of_range_is_refused(settings):
    with pytest.raises(ValueError, match=f"^sample: .*{next(iter(settings))}="):
        build("sample", **settings)


# ---- soft thinking


@pytest.mark.parametrize("rows", [1, 48])
def test_one_kept_token_is_greedy(rows):
    soft = build("soft_thinking", max_topk=1, answer="greedy", temperature=1.0)
    found = [one.traces[0].ids for one in soft.decode(POLICY, ASKS, 86, rows=rows)]
    assert found == [trace.ids for trace in traces("greedy")]


def test_what_the_model_reads_is_the_mean_of_embeddings():
    """logits (2, 1, 0, -1, -3), T .6, top-k 3, top-p .95: weights .84113 and .15887."""
    machine = SoftThinking(Warp(0.6, top_k=3, top_p=0.95), 10, ColdStop(0.0, 1), "greedy", "tempered")
    _, action = machine.step(machine.init(1, POLICY), look_at(Z, warp=machine.warp))
    ids, weights = action.mixture
    assert ids[0, :2].tolist() == [0, 1] and int(action.token) == 0
    assert weights[0].tolist() == pytest.approx([0.84113, 0.15887, 0, 0, 0], abs=1e-5)


def test_a_mixture_of_one_token_is_that_token():
    one, other = (Lanes(POLICY, [ASKS[0].prompt], [2]) for _ in range(2))
    token = torch.tensor([115, 114])
    one.feed(token)
    other.feed(token, (torch.stack([token, token.flip(0)], 1), torch.tensor([[1.0, 0.0], [1.0, 0.0]])))
    assert torch.equal(one.logits, other.logits)
    mixed = Lanes(POLICY, [ASKS[0].prompt], [2])
    mixed.feed(token, (torch.stack([token, token.flip(0)], 1), torch.full((2, 2), 0.5)))
    assert torch.allclose(mixed.logits[0], mixed.logits[1], atol=1e-5) and not torch.allclose(mixed.logits, one.logits)


def test_cold_stop_fires_at_its_step_and_puts_the_whole_marker():
    """Entropies .3 .005 .004 .02 .001 .002 .003, threshold .01, patience 3: counters 0 1 2 0 1 2 3."""
    stop, count, seen = ColdStop(0.01, 3), torch.tensor([0]), []
    for entropy in (0.3, 0.005, 0.004, 0.02, 0.001, 0.002, 0.003):
        count = stop.count(count, torch.tensor([entropy]), torch.tensor([True]))
        seen.append(int(count))
    assert seen == [0, 1, 2, 0, 1, 2, 3]
    for trace in traces("soft_thinking", threshold=5.0, patience=4):
        assert trace.ids[3:5] == END and trace.thinking == 5 and trace.forced == 2


def test_a_step_in_the_answer_ends_the_row_of_a_cold_stop():
    stop, yes, no = ColdStop(1.0, 9), torch.tensor([True]), torch.tensor([False])
    count = stop.count(torch.tensor([0]), torch.tensor([0.5]), yes)
    assert int(count) == 1 and int(stop.count(count, torch.tensor([0.5]), no)) == 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [("soft_thinking", {"threshold": 9.0, "patience": 4}), ("entropy_stop", {"threshold": 9.0, "window": 3})],
)
def test_a_second_thought_is_counted_anew(name, settings, scripted_policy, scripted_logits):
    """A first thought of two tokens ends by itself; the second ends after three, as a first would."""
    words = ["", "think", "word", "over", "?"]
    writes = ["think", "word", "over", "word", "think"]

    def rule(read):
        written = len(read) - 1
        return scripted_logits(words, **{writes[written] if written < len(writes) else "word": 1.0})

    policy = scripted_policy(rule, words, Markers(end=(3,), begin=(1,)))
    (found,) = build(name, **settings).decode(policy, [Ask("p", (4,))], 11)
    assert found.text == "think word over word think word word word over word"
    assert found.traces[0].forced == 1


# ---- noise


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 3.0])
def test_gumbel_noise_keeps_the_frequencies_at_any_temperature(temperature):
    num, p = 20_000, torch.tensor([0.6, 0.3, 0.1])
    ids = torch.arange(3).expand(num, 3)
    luck = look_at(Z, num).luck_of(ids)
    found = gumbel_softmax(p.expand(num, 3), luck, temperature).argmax(-1).bincount(minlength=3) / num
    assert ((found - p).abs() <= 4 * (p * (1 - p) / num).sqrt()).all()


@pytest.mark.parametrize(("concentration", "expected"), [(4.0, (0.734, 0.222, 0.044)), (1.0, (0.631, 0.283, 0.087))])
def test_dirichlet_noise_makes_a_likely_token_likelier(concentration, expected):
    num, p = 20_000, torch.tensor([0.6, 0.3, 0.1])
    drawn = dirichlet(p.expand(num, 3), look_at(Z, num), concentration)
    assert torch.allclose(drawn.sum(-1), torch.ones(num), atol=1e-5)
    assert (drawn.argmax(-1).bincount(minlength=3) / num).tolist() == pytest.approx(expected, abs=0.015)


def test_noise_makes_another_thought_of_another_seed():
    soft = build("randomised_soft_thinking", temperature=1.0, top_p=1.0)
    one, other = ([found.traces[0].ids for found in soft.decode(POLICY, ASKS, 86, seed=seed)] for seed in (0, 1))
    assert sum(map(tuple.__ne__, one, other)) > 24


# ---- stops


def test_a_threshold_no_step_reaches_changes_nothing():
    plain = [trace.ids for trace in traces("sample", temperature=0.6, top_p=0.95)]
    assert [trace.ids for trace in traces("entropy_stop", threshold=0.0, window=4)] == plain


def test_thinking_ends_after_the_first_step_that_is_sure():
    for trace in traces("entropy_stop", threshold=9.0, window=5):
        assert trace.ids[5:7] == END and trace.thinking == 7 and trace.forced == 2


def test_the_mean_of_a_step_decides():
    """A step whose own mean is below the threshold is the first that ends thinking."""
    window, threshold = 6, 0.35
    plain = traces("sample", temperature=0.6, top_p=0.95, entropy="top20")
    for before, after in zip(plain, traces("entropy_stop", threshold=threshold, window=window), strict=True):
        means = [sum(before.entropy[i : i + window]) / window for i in range(0, before.thinking - window, window)]
        sure = next((i for i, mean in enumerate(means, 1) if mean <= threshold), None)
        if sure is not None and window * sure < before.thinking - 2:
            assert after.ids[: window * sure] == before.ids[: window * sure]
            assert after.ids[window * sure :][:2] == END


def test_thresholds_of_a_calibration_set():
    found = thresholds([0.0, 1.0, 2.0], [3.0, 4.0, 5.0])
    assert found == pytest.approx((1.0, 1 + np.log(4), 2.5))
    wide = thresholds([0.0, 1.0, 2.0], [2.0, 5.0, 8.0])
    density = lambda x, mean, sigma: np.exp(-((x - mean) ** 2) / (2 * sigma**2)) / sigma  # noqa: E731
    assert density(wide.bayes, 1, 1) == pytest.approx(density(wide.bayes, 5, 3))
    with pytest.raises(ValueError, match="1 right and 2 wrong"):
        thresholds([1.0], [1.0, 2.0])


@pytest.mark.parametrize("length", [1, 3, *range(12, 28), 41])
def test_thinking_takes_exactly_its_length(length):
    """Also where an end would come at the last place, which holds half of "no try"."""
    for trace in traces("budget_forcing", budget=120, length=length):
        assert trace.ids[length : length + 2] == END, "the marker follows at once"
        assert trace.thinking == length + 2


def test_a_wait_takes_the_place_of_an_end():
    plain = traces("sample", temperature=0.6, top_p=0.95)
    for before, after in zip(plain, traces("budget_forcing", waits=1), strict=True):
        if before.ids[before.thinking - 2 : before.thinking] == END:
            place = before.thinking - 2
            assert after.ids[:place] == before.ids[:place] and after.ids[place : place + 2] == AGAIN
    assert [t.ids for t in traces("budget_forcing", waits=0)] == [t.ids for t in plain]


# ---- votes


def test_a_vote_is_the_plurality_of_what_sampling_gives():
    found = build("parallel_vote", max_tokens=56, temperature=1.0).decode(POLICY, ASKS, 230)
    for one in found:
        answers = [trace.answer for trace in one.traces if trace.answer]
        assert len(one.traces) >= 4 and one.votes == {a: float(answers.count(a)) for a in answers}
        assert all(one.votes[one.answer] >= votes for votes in one.votes.values())
    first = [one.traces[0].ids for one in found]
    assert first == [trace.ids for trace in traces("sample", budget=62, top_p=0.95)], "path 0 is the sample"


def test_a_prompt_read_again_is_counted():
    for one in build("parallel_vote", max_tokens=56, temperature=1.0).decode(POLICY, ASKS, 230):
        waves = 1 + sum(trace.reread > 0 for trace in one.traces)
        assert one.spent.reread == 6 * (waves - 1) and one.spent.total <= 230


def test_what_is_counted_as_read_is_what_the_model_reads():
    """Waves of four rows for each of five problems, six rows at a time: no problem's prompt is read twice."""
    policy = table_policy(fork_table)
    asks = [Ask(str(i), (*range(A, A + i), PROMPT)) for i in range(5)]
    found = build("parallel_vote", max_tokens=5).decode(policy, asks, 25, rows=6)
    assert any(one.spent.reread for one in found)
    assert sum(policy.model.read) == sum(one.spent.prompt + one.spent.reread for one in found)


def test_a_vote_over_another_decoders_completions():
    both = build("randomised_soft_thinking+parallel_vote", max_tokens=56, max_paths=3, gumbel_temperature=0.3)
    assert both.settings["gumbel_temperature"] == 0.3 and both.settings["max_paths"] == 3
    found, alone = both.decode(POLICY, ASKS[:4], 230), build("randomised_soft_thinking", gumbel_temperature=0.3)
    assert all(len(one.traces) == 3 for one in found)
    first = [one.traces[0].ids for one in alone.decode(POLICY, ASKS[:4], 62)]
    assert [one.traces[0].ids for one in found] == first


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tree_expansion+parallel_vote", {}, "tree_expansion gives no single completions"),
        ("sample+greedy", {}, "parallel_vote alone takes another decoder's completions"),
        ("sample+parallel_vote", {"top_q": 1}, "sample.parallel_vote has no setting 'top_q'"),
        ("sample+parallel_vote", {"max_paths": 0}, "max_paths=0: both are counts"),
        ("sampel+parallel_vote", {}, "did you mean 'sample'"),
    ],
)
def test_a_vote_over_what_is_none_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build(name, **settings)


# ---- markers


def test_a_marker_the_tokenizer_does_not_know_is_refused():
    with pytest.raises(ValueError, match="the marker '</thought>' is not in its vocabulary"):
        load_policy("tiny", Thinking(end="</thought>"))


def test_a_word_for_going_on_that_is_unknown_is_refused_where_it_is_needed():
    policy = load_policy("tiny", Thinking(end="yes answer", again="Wait"))
    assert build("soft_thinking").decode(policy, ASKS[:1], 60)
    with pytest.raises(ValueError, match=r"budget_forcing: .* give --think-again$"):
        build("budget_forcing").decode(policy, ASKS[:1], 60)


def test_thinking_that_its_marker_begins_is_not_thinking_before():
    policy = load_policy("tiny", Thinking(end="yes answer", again="no try", begin="no try"))
    found = build("budget_forcing", length=2).decode(policy, ASKS, 86)
    for one in found:
        ids = one.traces[0].ids
        at = next((i + 2 for i in range(len(ids) - 1) if ids[i : i + 2] == AGAIN), None)
        assert bool(one.traces[0].forced) == (at is not None)
        assert at is None or ids[at + 2 : at + 4] == END
