"""Scoring completions: of the distribution they were drawn from, whatever stands beside them."""

import pytest
import torch
from tests.laws.small_models import CONFIGS, small_model, small_tokenizer

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
