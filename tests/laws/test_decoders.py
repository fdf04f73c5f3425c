"""What every decoder promises: the budget to the token, an honest count, and draws that company does not change."""

from dataclasses import replace
from functools import cache
from importlib import import_module
from itertools import islice

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import CONFIGS, WORDS, small_model, small_tokenizer

from forkpoint import catalog
from forkpoint.decoders import Ask, Decoder, build, load_policy, policy_of
from forkpoint.tasks import Thinking
from forkpoint.verify import score

NAMES = catalog.names("decoders")
every_decoder = pytest.mark.parametrize("name", NAMES)
every_family = pytest.mark.parametrize("family", CONFIGS)
MARKERS = Thinking(end="done now", again="wait more")
BUDGET = 200


@cache
def lively(name):
    """The decoder set so that answers of fifty tokens show what it does; its file may say how."""
    own = getattr(import_module(f"forkpoint.decoders.{name}"), "LIVELY", {})
    known = build(name).settings
    return build(name, **{k: v for k, v in ({"max_tokens": 56, "temperature": 1.0} | own).items() if k in known})


@cache
def countdown():
    return catalog.get("tasks", "countdown")()


@cache
def tiny():
    return load_policy("tiny", countdown().thinking)


@cache
def asks(num=12):
    task = countdown()
    problems = list(islice(task.problems("test"), num))
    return [Ask(p.id, tiny().encode(p.prompt), lambda text, p=p: task.answer(p, text)) for p in problems]


@cache
def decoded(name, seed=0):
    return lively(name).decode(tiny(), asks(), BUDGET, seed=seed)


def taken(found):
    """What must be equal for two results to be the same: tokens, answers and counts."""
    return [
        (one.answer, one.text, one.spent, [(t.ids, t.finish, t.forced, t.shared, t.kept) for t in one.traces])
        for one in found
    ]


# ---- the same whatever stands beside it


@every_decoder
def test_one_seed_is_one_result(name):
    assert taken(lively(name).decode(tiny(), asks(), BUDGET)) == taken(decoded(name))


@every_decoder
def test_a_batch_takes_the_tokens_that_single_rows_take(name):
    alone = [lively(name).decode(tiny(), [ask], BUDGET, rows=1)[0] for ask in asks()[:6]]
    assert taken(alone) == taken(decoded(name)[:6])


@every_decoder
def test_the_order_of_problems_does_not_matter(name):
    turned = lively(name).decode(tiny(), asks()[::-1], BUDGET)
    assert taken(turned[::-1]) == taken(decoded(name))


@every_decoder
def test_global_randomness_and_weights_are_left_alone(name):
    before, weights = torch.random.get_rng_state(), [weight.clone() for weight in tiny().model.parameters()]
    lively(name).decode(tiny(), asks()[:2], BUDGET)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, weights, tiny().model.parameters()))


# ---- the count


@every_decoder
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(over=st.integers(1, 300), seed=st.integers(0, 3))
def test_the_budget_holds_to_the_token(name, over, seed):
    chosen = asks()[:3]
    budget = max(len(ask.prompt) for ask in chosen) + min(over, tiny().context - 6)
    for one in lively(name).decode(tiny(), chosen, budget, seed=seed):
        assert one.spent.total <= budget


@every_decoder
def test_every_token_is_counted_once(name):
    for ask, one in zip(asks(), decoded(name), strict=True):
        assert one.spent.prompt == len(ask.prompt)
        assert one.spent.kept + one.spent.discarded == sum(trace.generated for trace in one.traces)
        assert one.spent.reread == sum(trace.reread for trace in one.traces)
        assert all(0 <= trace.shared <= len(trace.ids) and 0 <= trace.forced <= len(trace.ids) for trace in one.traces)


@every_decoder
def test_nothing_follows_an_end_token(name):
    (end,) = tiny().ends
    for one in decoded(name):
        assert all(end not in trace.ids[:-1] for trace in one.traces)
        assert all(trace.ids[-1] == end for trace in one.traces if trace.finish == "end")


# ---- the answer


@every_decoder
def test_the_text_gives_the_answer_that_was_voted_for(name):
    for ask, one in zip(asks(), decoded(name), strict=True):
        if one.answer is not None:
            assert ask.answer(one.text) == one.answer
        if one.votes:
            assert one.answer in one.votes and all(weight >= 0 for weight in one.votes.values())


@every_decoder
def test_it_solves_some_problems(name):
    problems = list(islice(countdown().problems("test"), 12))
    verdicts = score(countdown(), problems, [one.text for one in decoded(name)])
    assert any(verdict.correct for verdict in verdicts)


@every_decoder
def test_entropies_are_those_of_the_tokens_it_took(name):
    for one in decoded(name):
        for trace in one.traces:
            assert len(trace.entropy) in (0, len(trace.ids) - trace.shared)
            assert all(0 <= entropy < 5 for entropy in trace.entropy) and trace.logp <= 1e-4


# ---- any causal LM


def small_asks():
    tokenizer = small_tokenizer()
    prompts = ("3 4 think", "1 2 3 4 5 6 think", "7 think")
    return [Ask(prompt, tuple(tokenizer(prompt)["input_ids"])) for prompt in prompts]


@every_decoder
@every_family
def test_it_decodes_from_any_family_and_holds_the_budget(name, family):
    policy = policy_of(small_model(family, rows=40), small_tokenizer(), MARKERS)
    for one in lively(name).decode(policy, small_asks(), 60):
        assert one.spent.total <= 60
        assert all(token < len(WORDS) for trace in one.traces for token in trace.ids), "ids without a text"


@every_decoder
def test_it_decodes_in_bfloat16(name):
    policy = policy_of(small_model("llama", dtype=torch.bfloat16), small_tokenizer(), MARKERS)
    assert len(lively(name).decode(policy, small_asks(), 40)) == 3


@every_decoder
def test_prompts_of_other_lengths_beside_it_change_nothing(name):
    policy = policy_of(small_model("qwen3"), small_tokenizer(), MARKERS)
    together = lively(name).decode(policy, small_asks(), 40)
    assert taken(together) == [taken(lively(name).decode(policy, [ask], 40))[0] for ask in small_asks()]


# ---- bad input, one line each


@every_decoder
def test_a_budget_that_its_prompt_uses_up_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name}: a budget of 6 tokens leaves none for problem .*give a larger"):
        lively(name).decode(tiny(), asks(), 6)


@every_decoder
def test_no_completion_passes_the_models_context_whatever_the_budget(name):
    own = {k: v for k, v in lively(name).settings.items() if k not in ("max_tokens", "max_paths")}
    few = {"max_paths": 8} if "max_paths" in lively(name).settings else {}
    (found,) = build(name, **own, **few).decode(tiny(), asks()[:1], 3_000)
    assert all(len(trace.ids) + 6 <= tiny().context for trace in found.traces)


@pytest.mark.parametrize("name", [name for name in NAMES if "max_tokens" in build(name).settings])
def test_no_token_is_put_by_that_the_context_has_no_place_for(name):
    """At 700 tokens: of the 250 that a context of 256 leaves there are two whole ones, of 1024 there is not one."""
    settings = {**lively(name).settings, "max_tokens": 1024}
    within = build(name, **{**settings, "max_tokens": tiny().context - 6})
    assert taken(build(name, **settings).decode(tiny(), asks(3), 700)) == taken(within.decode(tiny(), asks(3), 700))


@every_decoder
def test_a_prompt_that_fills_the_context_is_refused(name):
    long = Ask("long", asks()[0].prompt * 50)
    with pytest.raises(ValueError, match="problem 'long': its prompt of 300 tokens and 0 more fill the model's 256"):
        lively(name).decode(tiny(), [long], 3_000)


@every_decoder
def test_logits_that_are_no_numbers_are_refused(name):
    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small_model("llama")
            self.config, self.generation_config = self.inner.config, self.inner.generation_config
            self.device = torch.device("cpu")

        def get_output_embeddings(self):
            return self.inner.get_output_embeddings()

        def get_input_embeddings(self):
            return self.inner.get_input_embeddings()

        def forward(self, position_ids=None, logits_to_keep=0, **inputs):
            out = self.inner(position_ids=position_ids, logits_to_keep=logits_to_keep, **inputs)
            out.logits[-1] = torch.nan
            return out

    policy = replace(policy_of(Broken(), small_tokenizer(), MARKERS), name="a/b")
    with pytest.raises(ValueError, match=r"^model 'a/b': its logits are not finite .*check the checkpoint$"):
        lively(name).decode(policy, small_asks(), 40)


@every_decoder
def test_without_markers_it_works_or_says_what_to_give(name):
    policy = policy_of(small_model("llama"), small_tokenizer())
    if lively(name).thinks:
        with pytest.raises(ValueError, match=f"^{name} .*give --think-end$"):
            lively(name).decode(policy, small_asks(), 40)
    else:
        assert len(lively(name).decode(policy, small_asks(), 40)) == 3


@every_decoder
def test_defaults_are_echoed_and_a_misspelt_setting_is_refused(name):
    made = build(name)
    assert isinstance(made, Decoder) and made.name == name and made.settings
    setting = next(iter(made.settings))
    with pytest.raises(ValueError, match=rf"^{name} has no setting '{setting}x'; did you mean '{setting}'\?"):
        build(name, **{f"{setting}x": 1})


@every_decoder
def test_a_setting_out_of_range_is_refused_in_one_line(name):
    for setting in build(name).settings:
        for value in (None, True, float("nan"), -1e9, "no such word"):
            with pytest.raises(ValueError) as refused:
                build(name, **{setting: value})
            message = str(refused.value)
            assert message.startswith(f"{name}: ") and setting in message and "\n" not in message, (setting, value)
