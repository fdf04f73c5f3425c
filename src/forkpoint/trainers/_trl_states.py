"""What a TRL run tells beyond its own outputs: hidden states, reduced to six numbers a row, and a frozen reference."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.metrics._prefix_rank import STRIDE, rank_statistics
from forkpoint.metrics.entropy_full import token_entropy
from forkpoint.policies.logp import LOGITS_AT_ONCE
from forkpoint.policies.padding import places, takes_places
from forkpoint.trainers import _trl_host as host


@dataclass
class States:
    """The backbone's output in the newest forward, until it is reduced."""

    stride: int
    hidden: Float[Tensor, "B S D"] | None = None
    of: Tensor | None = None
    """the completions that ``rank`` belongs to"""
    rank: Float[Tensor, "B 6"] | None = None


def note_states(trainer: Any, stride: int = STRIDE) -> None:
    """Keep the final norm's output of each forward; a second call changes nothing. The forward is not changed.

    Raises ValueError for a stride below 1, HostError where it is already noted with another one.
    """
    if stride < 1:
        raise ValueError(f"rank={stride}: give the number of tokens between two prefixes, such as {STRIDE}")
    known = getattr(trainer, "forkpoint_states", None)
    if known is not None:
        if known.stride != stride:
            raise host.HostError(
                f"rank={stride}, and the method reads the rank of prefixes {known.stride} tokens apart"
            )
        return
    states = trainer.forkpoint_states = States(stride)
    bare = trainer.accelerator.unwrap_model(trainer.model)
    bare = bare.get_base_model() if hasattr(bare, "get_base_model") else bare  # PEFT

    def keep(module: Any, args: Any, output: Any) -> None:
        states.hidden = output.last_hidden_state.detach()

    bare.base_model.register_forward_hook(keep)


def with_rank(trainer: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """A micro-batch that the model has just seen, with the rank statistics of its completions where they are noted.

    The state at a token's own place counts, as where decoding reads it, and not the one that predicts it.
    """
    states: States | None = getattr(trainer, "forkpoint_states", None)
    if states is None:
        return inputs
    ids = inputs["completion_ids"]
    if states.hidden is not None and len(states.hidden) == len(ids):
        mask = host.completion_mask(inputs).bool()
        states.rank = rank_statistics(states.hidden[:, -ids.size(1) :], mask, stride=states.stride)
        states.of = ids
    states.hidden = None  # as large as the activations of a layer
    return inputs | {"forkpoint_rank": states.rank} if states.of is ids else inputs


def note_reference(trainer: Any, reference: Any) -> None:
    """Let rollouts carry the entropy of ``reference``, a model or the name of one, at each completion token.

    Raises HostError for the policy in training itself, or a model of fewer tokens.
    """
    if isinstance(reference, str):
        from forkpoint.policies import load

        reference = load(reference)[0]
    policy = trainer.accelerator.unwrap_model(trainer.model)
    if reference is policy:
        raise host.HostError("reference is the policy in training; give a frozen copy of it, or another model")
    theirs, ours = (model.get_input_embeddings().num_embeddings for model in (reference, policy))
    if theirs < ours:
        raise host.HostError(f"reference knows {theirs} tokens and the policy {ours}; give one with its vocabulary")
    trainer.forkpoint_reference = reference.requires_grad_(False).eval().to(trainer.accelerator.device)


@torch.no_grad()
def add_reference(trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The rollout with the reference's entropies, in nats at the sampling temperature; a second call adds nothing."""
    reference = getattr(trainer, "forkpoint_reference", None)
    if reference is None or "forkpoint_entropy_reference" in batch:
        return batch
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    keep = batch["completion_ids"].size(1)
    rows = max(1, LOGITS_AT_ONCE // ((keep + 1) * reference.config.get_text_config().vocab_size))
    inputs = {"input_ids": ids, "attention_mask": attention}
    inputs |= {"position_ids": places(attention)} if takes_places(reference) else {}
    parts = []
    for i in range(0, len(ids), rows):
        part = {name: value[i : i + rows] for name, value in inputs.items()}
        logits = reference(**part, logits_to_keep=keep + 1).logits
        parts.append(token_entropy(logits[:, :-1], trainer.temperature))
    batch["forkpoint_entropy_reference"] = torch.cat(parts)
    return batch
