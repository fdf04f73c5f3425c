"""Scoring completions: of the distribution they were drawn from, whatever stands beside them."""

import pytest
import torch
from tests.laws.small_models import CONFIGS, WORDS, small_model, small_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from forkpoint.decoders import policy_of
from forkpoint.policies.ids import fitted, vocabulary_of
from forkpoint.policies.logp import token_logp
from forkpoint.policies.sample import sample

PROMPTS = ["1 2 3 4 5 6 7 8 think", "9 think", "3 4 5 think"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_padded_row_is_scored_as_the_row_alone(name):
    model = small_model(name)
    drawn = sample(model, small_tokenizer(), PROMPTS, seed=0, max_tokens=8)
    logp, _ = token_logp(model, drawn, 1.0)
    for row in range(len(PROMPTS)):
        prompt, ids = drawn.prompt_ids[row][drawn.prompt_mask[row].bool()], drawn.ids[row][drawn.mask[row]]
        with torch.no_grad():
            alone = model(torch.cat([prompt, ids])[None]).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(logp[row][drawn.mask[row]], alone.gather(-1, ids[:, None])[:, 0])


def test_ids_without_a_text_are_neither_drawn_nor_scored():
    model, tokenizer = small_model("llama", rows=200), small_tokenizer()
    drawn = sample(model, tokenizer, PROMPTS * 20, seed=0, max_tokens=8)
    assert drawn.vocabulary == len(WORDS) and bool((drawn.ids < len(WORDS)).all())
    with torch.no_grad():
        logits = model(drawn.prompt_ids[:1]).logits[0, -1, : len(WORDS)]
    logp, entropy = token_logp(model, drawn, 1.0)
    assert logp[0, 0] == pytest.approx(float(logits.log_softmax(-1)[drawn.ids[0, 0]]), abs=1e-5)
    assert entropy[0, 0] == pytest.approx(float(torch.distributions.Categorical(logits=logits).entropy()), abs=1e-5)


def test_the_ids_of_a_tokenizer_may_have_gaps():
    words = {word: i for i, word in enumerate(WORDS)} | {"late": 90}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, "<unk>")), eos_token="<eos>")
    assert len(tokenizer) < vocabulary_of(tokenizer) == 91
    assert policy_of(small_model("llama", rows=91), tokenizer).vocabulary == 91
    with pytest.raises(ValueError, match=r"^its tokenizer has ids up to 90 and it knows 90; load the tokenizer"):
        fitted(small_model("llama", rows=90), tokenizer)
