"""What a policy thinks of completions: log-prob and full-softmax entropy of every sampled token, in one forward pass.

At the sampling temperature and over the ids of the tokenizer, since that is the distribution the tokens were drawn
from. No gradient, and the model's mode is put back.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from forkpoint.metrics.entropy_full import token_entropy
from forkpoint.policies.padding import places, takes_places
from forkpoint.policies.sample import Sampled

LOGITS_AT_ONCE = 2**26
"""most logits held at a time, so that a large vocabulary is scored in pieces"""


@torch.no_grad()
def token_logp(model: Any, drawn: Sampled, temperature: float) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """(log-probs, full-softmax entropies) of the sampled tokens in nats; 0 where masked."""
    ids = torch.cat([drawn.prompt_ids, drawn.ids], dim=1)
    attention = torch.cat([drawn.prompt_mask, drawn.mask.long()], dim=1)
    start, length = drawn.prompt_ids.shape[1], drawn.ids.shape[1]
    rows = max(1, LOGITS_AT_ONCE // (ids.shape[1] * model.config.get_text_config().vocab_size))
    # a model with absolute positions would else count the padding, which drawing did not
    inputs = {"input_ids": ids, "attention_mask": attention}
    inputs |= {"position_ids": places(attention)} if takes_places(model) else {}
    was_training = model.training
    model.eval()
    logps, entropies = [], []
    for i in range(0, len(ids), rows):
        part = slice(i, i + rows)
        logits = model(**{name: tensor[part] for name, tensor in inputs.items()}).logits
        logits = logits[:, start - 1 : -1, : drawn.vocabulary].float() / temperature
        logps.append(logits.log_softmax(-1).gather(-1, drawn.ids[part, :, None]).squeeze(-1))
        entropies.append(token_entropy(logits))
    model.train(was_training)
    empty = ~drawn.mask[:, :length]
    return torch.cat(logps).masked_fill(empty, 0.0), torch.cat(entropies).masked_fill(empty, 0.0)


def crossed_logp(model: Any, drawn: Sampled, at: Int[Tensor, " N"], temperature: float) -> Float[Tensor, "N N"]:
    """Mean log-prob per token of each of these rows' completions (down) under each of their prompts (across)."""
    completion, prompt = at.repeat_interleave(len(at)), at.repeat(len(at))
    mask = drawn.mask[completion]
    crossed = Sampled(
        drawn.prompt_ids[prompt], drawn.prompt_mask[prompt], drawn.ids[completion], mask, [], drawn.vocabulary
    )
    logp, _ = token_logp(model, crossed, temperature)
    return (logp.double().sum(1) / mask.sum(1).clamp(min=1)).view(len(at), len(at))
