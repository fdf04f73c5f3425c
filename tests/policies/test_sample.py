"""Drawing completions: full softmax, ragged ends, and nobody else's random state touched."""

from copy import deepcopy

import pytest
import torch
from tests.laws.small_models import small_model, small_tokenizer

from forkpoint.decoders import policy_of
from forkpoint.policies import load
from forkpoint.policies.sample import sample


@pytest.fixture(scope="module")
def tiny():
    return load("tiny")


def test_a_draw_repeats_from_its_seed_and_leaves_the_random_state(tiny):
    before = torch.random.get_rng_state()
    one, again, other = (sample(*tiny, ["3 4 9 target 39 think"] * 4, seed=s, max_tokens=40) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert one.texts == again.texts != other.texts


def test_the_mask_ends_with_the_end_token_and_texts_are_the_masked_tokens(tiny):
    _, tokenizer = tiny
    drawn = sample(*tiny, ["3 4 9 target 39 think", "2 2 5 target 20 think"] * 8, seed=0, max_tokens=40)
    for ids, mask, text in zip(drawn.ids, drawn.mask, drawn.texts, strict=True):
        length = int(mask.sum())
        assert mask[:length].all() and not mask[length:].any()
        kept = ids[mask].tolist()
        assert tokenizer.eos_token_id not in kept[:-1]
        assert length == 40 or kept[-1] == tokenizer.eos_token_id
        assert text == " ".join(t for t in tokenizer.convert_ids_to_tokens(kept) if t != tokenizer.eos_token)


def test_left_padding_does_not_change_what_is_sampled_greedily(tiny):
    """A short prompt beside a long one gives what it gives alone, at a temperature near zero."""
    short, long = "brackets 8 ( [ think", "brackets 14 ( [ ( ) ( [ think"
    together = sample(*tiny, [short, long], seed=0, max_tokens=12, temperature=1e-4)
    alone = sample(*tiny, [short], seed=0, max_tokens=12, temperature=1e-4)
    assert together.texts[0] == alone.texts[0]


def test_sampling_follows_the_full_softmax(tiny):
    model, tokenizer = tiny
    prompt = "3 4 9 target 39 think try"
    with torch.no_grad():
        expected = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1].softmax(-1)
    drawn = sample(model, tokenizer, [prompt] * 4000, seed=0, max_tokens=1)
    observed = torch.bincount(drawn.ids[:, 0], minlength=len(expected)) / 4000
    assert (observed - expected).abs().max() < 5 * (0.25 / 4000) ** 0.5


@pytest.mark.parametrize("own", [{"repetition_penalty": 50.0}, {"min_p": 0.5}, {"suppress_tokens": [5, 6]}], ids=str)
def test_a_generation_config_of_the_model_s_own_changes_nothing_and_stays(own):
    model, prompts = deepcopy(small_model("llama")), ["1 2 3 think"] * 8
    plain = sample(model, small_tokenizer(), prompts, seed=0, max_tokens=8)
    model.generation_config.update(**own)
    kept = model.generation_config
    assert torch.equal(sample(model, small_tokenizer(), prompts, seed=0, max_tokens=8).ids, plain.ids)
    assert model.generation_config is kept and kept.to_dict() | own == kept.to_dict()


def test_a_row_ends_at_any_of_the_ends_that_decoding_knows():
    model, tokenizer = deepcopy(small_model("llama")), small_tokenizer()
    model.generation_config.eos_token_id = [5, 6, 7]
    ends = set(policy_of(model, tokenizer).ends)
    assert ends == {tokenizer.eos_token_id, 5, 6, 7}
    drawn = sample(model, tokenizer, ["1 2 3 think"] * 32, seed=0, max_tokens=30)
    rows = [row[mask].tolist() for row, mask in zip(drawn.ids, drawn.mask, strict=True)]
    assert not any(ends & set(row[:-1]) for row in rows)
    assert {row[-1] for row in rows if len(row) < 30} == ends


def test_a_missing_model_gets_one_line():
    with pytest.raises(ValueError, match="'no/such/model'") as caught:
        load("no/such/model")
    assert "\n" not in str(caught.value)
