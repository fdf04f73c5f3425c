"""Drawing completions: full softmax, ragged ends, and nobody else's random state touched."""

import pytest
import torch

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


def test_a_missing_model_gets_one_line():
    with pytest.raises(ValueError, match="'no/such/model'") as caught:
        load("no/such/model")
    assert "\n" not in str(caught.value)
