"""Draw completions from a policy without touching the caller's random state."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from forkpoint.policies import bare
from forkpoint.policies.ids import ends_of


class Sampled(NamedTuple):
    """Completions of a list of prompts, right-padded; ``mask`` includes the end token."""

    prompt_ids: Int[Tensor, "B P"]
    prompt_mask: Int[Tensor, "B P"]
    ids: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    texts: list[str]


@torch.no_grad()
def sample(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, seed: int, max_tokens: int, temperature: float = 1.0
) -> Sampled:
    """One completion per prompt, by ``model.generate`` with full-softmax sampling, whatever its generation config says.

    A row ends at any of the model's end tokens. The global random state is forked and seeded, and the training mode put
    back: calling this changes nothing. Raises ValueError where no end token is known.
    """
    from transformers import GenerationConfig

    ends = ends_of(model, tokenizer)
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left").to(model.device)
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=list(ends),
    )
    network, was_training = bare(model), model.training
    kept = network.generation_config
    model.eval()
    try:
        # in place of the model's own, which else fills in what this one leaves open, as a penalty or min-p
        network.generation_config = config
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(seed)
            full = model.generate(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"])
    finally:
        network.generation_config = kept
        model.train(was_training)
    ids = full[:, encoded["input_ids"].shape[1] :]
    end = torch.isin(ids, torch.tensor(ends, device=ids.device))
    # up to the first end, which belongs to the completion
    mask = end.long().cumsum(-1) - end.long() == 0
    texts = tokenizer.batch_decode(ids.masked_fill(~mask, tokenizer.pad_token_id), skip_special_tokens=True)
    return Sampled(encoded["input_ids"], encoded["attention_mask"], ids, mask, texts)
