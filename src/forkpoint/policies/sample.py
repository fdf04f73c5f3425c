"""Draw completions from a policy without touching the caller's random state."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from forkpoint.policies import bare
from forkpoint.policies.ids import ends_of, fill_of, vocabulary_of
from forkpoint.policies.padding import left_padded


class Sampled(NamedTuple):
    """Completions of a list of prompts, right-padded; ``mask`` includes the end token."""

    prompt_ids: Int[Tensor, "B P"]
    prompt_mask: Int[Tensor, "B P"]
    ids: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    texts: list[str]
    vocabulary: int
    """ids below it were drawn from"""


@torch.no_grad()
def sample(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, seed: int, max_tokens: int, temperature: float = 1.0
) -> Sampled:
    """One completion per prompt, by ``model.generate`` with full-softmax sampling, whatever its generation config says.

    Over the ids that the tokenizer has, as in decoding: an embedding may be padded with ids that have no text. A row
    ends at any of the model's end tokens. The global random state is forked and seeded, and the training mode put back:
    calling this changes nothing. Raises ValueError where no end token is known.
    """
    from transformers import GenerationConfig

    ends = ends_of(model, tokenizer)
    prompt_ids, prompt_mask = encoded(model, tokenizer, prompts)
    vocabulary, rows = vocabulary_of(tokenizer), model.config.get_text_config().vocab_size
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_tokens,
        pad_token_id=fill_of(model, tokenizer),
        eos_token_id=list(ends),
        suppress_tokens=list(range(vocabulary, rows)) or None,
    )
    network, was_training = bare(model), model.training
    kept = network.generation_config
    model.eval()
    try:
        # in place of the model's own, which else fills in what this one leaves open, as a penalty or min-p
        network.generation_config = config
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(seed)
            full = model.generate(input_ids=prompt_ids, attention_mask=prompt_mask)
    finally:
        network.generation_config = kept
        model.train(was_training)
    ids = full[:, prompt_ids.shape[1] :]
    end = torch.isin(ids, torch.tensor(ends, device=ids.device))
    # up to the first end, which belongs to the completion
    mask = end.long().cumsum(-1) - end.long() == 0
    texts = [tokenizer.decode(row[chosen], skip_special_tokens=True) for row, chosen in zip(ids, mask, strict=True)]
    return Sampled(prompt_ids, prompt_mask, ids, mask, texts, vocabulary)


def encoded(model: Any, tokenizer: Any, prompts: Sequence[str]) -> tuple[Int[Tensor, "B P"], Int[Tensor, "B P"]]:
    """(ids, mask) of prompts, padded on the left; not by the tokenizer, which may know no padding."""
    ids, mask = left_padded(tokenizer(list(prompts))["input_ids"], fill_of(model, tokenizer))
    return ids.to(model.device), mask.to(model.device)
