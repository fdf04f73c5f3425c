"""What we rely on in TRL beyond its documented surface, in one place, checked before a run starts.

Documented: ``GRPOTrainer.compute_loss`` and the fused head that ``add_fused_lm_head`` puts on the model.
Private: the names in ``PRIVATE``. A TRL that lacks one is refused with its version, not met with a wrong number.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

from forkpoint.batch import Reduction, StepBatch

PRIVATE = (
    *("_generate_and_score_completions", "_calculate_rewards", "_buffered_inputs", "_metrics", "_step", "_tokenizer"),
)
SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "TP")
"""ways to spread a model over processes, in accelerate's words"""
REDUCTIONS = ("grpo", "bnpo", "dr_grpo", "dapo")
"""loss types that differ only in how token losses are averaged; a method of ours keeps the one it finds"""
ROW_COLUMNS = (
    *("row_id", "group", "reward", "label", "group_reward", "group_logp", "entropy_reference", "rank", "shifted"),
)
"""fields of ``StepBatch`` that ride along in TRL's batch as ``forkpoint_FIELD``: tensors with a batch axis survive its
shuffle and split"""
AVERAGES = {"token_mean": "dapo", "sequence_mean": "grpo"}
"""our name of an average of token losses -> the loss type whose average it is"""


class HostError(ValueError):
    """The trainer is not one we can work with, or its settings contradict the method's."""


def generates(trainer: Any) -> bool:
    """Whether it samples completions and scores them with reward functions, as GRPO and RLOO do."""
    return hasattr(trainer, "reward_funcs")


def check_host(trainer: Any) -> None:
    """Raise HostError, naming the TRL version, where a name we rely on is gone."""
    import trl

    if not hasattr(trainer, "compute_loss") or not hasattr(trainer, "callback_handler"):
        raise HostError(f"{type(trainer).__name__} is no trainer of TRL; give a GRPOTrainer or another one")
    if not generates(trainer):
        return
    missing = ", ".join(name for name in PRIVATE if not hasattr(trainer, name))
    if missing:
        raise HostError(f"trl {trl.__version__}: {type(trainer).__name__} has no {missing}; use trl>=1.15,<2")


def completion_mask(inputs: dict[str, Any]) -> Tensor:
    """The loss mask (B, T) of a micro-batch, 1 where the policy chose the token."""
    mask = inputs["completion_mask"]
    return mask if "tool_mask" not in inputs else mask * inputs["tool_mask"]


def tool_tokens(inputs: dict[str, Any]) -> Tensor | None:
    """True (B, T) where a tool or an environment wrote the token; None where the rollout used none."""
    if "tool_mask" not in inputs:
        return None
    return inputs["completion_mask"].bool() & ~inputs["tool_mask"].bool()


def step_batch(inputs: dict[str, Any], logp: Tensor, entropy: Tensor | None) -> StepBatch:
    """A TRL micro-batch in our words; the only place that knows TRL's keys."""
    old = inputs.get("old_per_token_logps")
    advantages = inputs["advantages"]
    return StepBatch(
        logp=logp,
        logp_old=logp if old is None else old,
        mask=completion_mask(inputs).bool(),
        advantage=advantages,
        entropy=entropy,
        token_ids=inputs["completion_ids"],
        tool=tool_tokens(inputs),
        **{name: inputs.get(f"forkpoint_{name}") for name in ROW_COLUMNS},
    )


def note_rewards(trainer: Any) -> None:
    """Let the trainer keep what its reward functions saw and said of the newest rollout.

    ``forkpoint_prompts`` as it resolved them and ``forkpoint_lengths`` of the completions, before truncated ones are
    masked, of this process's rows; ``forkpoint_rewards`` (rows of all processes, functions).
    """
    if hasattr(trainer, "forkpoint_rewards"):
        return
    trainer.forkpoint_rewards, original = None, trainer._calculate_rewards

    @wraps(original)
    def noted(inputs: Any, prompts: list[Any], completions: Any, completion_ids_list: list[list[int]]) -> Tensor:
        trainer.forkpoint_prompts = prompts
        trainer.forkpoint_lengths = [len(ids) for ids in completion_ids_list]
        trainer.forkpoint_rewards = original(inputs, prompts, completions, completion_ids_list)
        return trainer.forkpoint_rewards

    trainer._calculate_rewards = noted


def written(trainer: Any, batch: dict[str, Any]) -> Tensor:
    """True (B, T) where the policy wrote a token of the newest rollout, in the loss or not.

    ``mask_truncated_completions`` empties a row's masks; all of such a row counts, a tool's tokens too, which can no
    longer be told from the policy's.
    """
    mask = completion_mask(batch).bool()
    lengths = torch.tensor(trainer.forkpoint_lengths, device=mask.device).unsqueeze(1)
    return torch.where(mask.any(1, keepdim=True), mask, torch.arange(mask.size(1), device=mask.device) < lengths)


def own_rewards(trainer: Any, num_rows: int) -> Tensor:
    """What the reward functions said of this process's rows, (rows, functions); nan for none."""
    first = trainer.accelerator.process_index * num_rows
    return trainer.forkpoint_rewards[first : first + num_rows]


def total_reward(trainer: Any) -> Tensor:
    """The weighted reward of all processes' rows; nan, not 0, for a row that no function could score, as in TRL."""
    by_function = trainer.forkpoint_rewards
    total = (by_function * trainer.reward_weights.to(by_function.device)).nansum(1)
    return total.masked_fill(by_function.isnan().all(1), float("nan"))


def number_rows(trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Give each row of a rollout identity, group and rewards, once: a second call changes nothing.

    They ride through TRL's shuffle and split. Draws go by the identity, so it must be there, and the same, whether or
    not anybody watches.
    """
    if "forkpoint_row_id" not in batch:
        if batch["advantages"].dim() != 1:
            raise HostError(
                f"the trainer gives advantages of shape {tuple(batch['advantages'].shape)}, and forkpoint reads one "
                "for each answer: give it a trainer with one"
            )
        size, accelerator, num = len(batch["advantages"]), trainer.accelerator, trainer.num_generations
        seen = getattr(trainer, "forkpoint_rows_seen", 0)
        device = batch["advantages"].device
        place = accelerator.process_index * size + torch.arange(size, device=device)
        batch |= {"forkpoint_row_id": seen + place, "forkpoint_group": (seen + place) // num}
        reward = total_reward(trainer).to(device)
        # a group may lie across processes, and a step may hold a part of it
        batch |= {"forkpoint_reward": reward[place], "forkpoint_group_reward": reward.view(-1, num)[place // num]}
        if "old_per_token_logps" in batch:
            logp = accelerator.gather(_mean_logp(batch)).view(-1, num)
            batch["forkpoint_group_logp"] = logp[place // num]
        trainer.forkpoint_rows_seen = seen + size * accelerator.num_processes
    return batch


def _mean_logp(batch: dict[str, Any]) -> Tensor:
    """Mean log-prob per token of each row under the policy that sampled; nan for a row without tokens."""
    mask = completion_mask(batch).bool()
    logp = torch.where(mask, batch["old_per_token_logps"], 0.0)
    return logp.sum(1) / mask.sum(1)


class NumbersRows:
    """Mixed in before a trainer class: its rollouts carry row identities, watched or not."""

    forkpoint_prompts: list[Any]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if not self.model.training:  # type: ignore[attr-defined]
            return batch
        number_rows(self, batch)
        if (labeler := getattr(self, "forkpoint_labeler", None)) is not None:
            mask = completion_mask(batch).bool()
            labels = labeler(self.forkpoint_prompts, batch["completion_ids"], mask, tokenizer(self))
            if getattr(labels, "shape", None) != mask.shape:
                found = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
                raise HostError(f"labels returned {found}; give a tensor of {tuple(mask.shape)}, a Label per token")
            batch["forkpoint_label"] = labels
        return batch


def wrap_generation(trainer: Any, wrap: Callable[[Any], Any]) -> None:
    """Put ``wrap`` around the trainer's own making of a rollout."""
    trainer._generate_and_score_completions = wrap(trainer._generate_and_score_completions)


def tokenizer(trainer: Any) -> Any:
    """The tokenizer, also where the trainer's processing class is a processor around one."""
    return trainer._tokenizer


def window(trainer: Any) -> list[dict[str, Any]]:
    """The micro-batches of the optimizer step that begins now, on this process."""
    first, size = trainer._step, trainer.args.steps_per_generation
    return [trainer._buffered_inputs[(first + i) % size] for i in range(trainer.current_gradient_accumulation_steps)]


def end_without_a_step(trainer: Any, checkpoint: str | None) -> Any:
    """End a training whose checkpoint, already loaded, is that of its last step."""
    from transformers.trainer_utils import TrainOutput

    trainer._load_rng_state(checkpoint)
    if trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is not None:
        trainer._load_best_model()
    trainer.is_in_train = False
    trainer.control = trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
    return TrainOutput(trainer.state.global_step, 0.0, {})


def loss_weight(trainer: Any, num_items_in_batch: Any) -> float:
    """What a micro-batch's loss counts in the step's mean: 1, or where losses add up to the step's, its share of it.

    The same distinction as in transformers' ``training_step``; the last step of an epoch may have fewer micro-batches.
    """
    scaled = getattr(trainer, "loss_is_scaled_for_ga", None)
    if scaled is None:
        scaled = trainer.compute_loss_func is not None or (
            trainer.model_accepts_loss_kwargs and num_items_in_batch is not None
        )
    return 1 / trainer.current_gradient_accumulation_steps if scaled else 1.0


def plain_batch(outputs: Any) -> StepBatch:
    """What a forward of the fused head alone tells, for trainers without rollouts (SFT, DPO ...)."""
    mask, logp = outputs.label_mask, outputs.log_probs.detach()
    return StepBatch(logp, logp, mask.bool(), torch.zeros_like(logp[:, 0]), outputs.entropy.detach())


class Scores(NamedTuple):
    """What a forward says of a micro-batch's completion tokens, at the sampling temperature."""

    logp: Tensor
    """(B, T)"""
    entropy: Tensor
    """(B, T)"""
    balance: Tensor | None
    """load-balancing loss of a mixture of experts, where the trainer adds one"""


def score_tokens(trainer: Any, model: Any, inputs: dict[str, Any]) -> Scores:
    """One forward of the fused head, as the trainer's own loss does it."""
    if any(name in inputs for name in ("pixel_values", "image_grid_thw", "token_type_ids", "mm_token_type_ids")):
        raise HostError("a managed loss does not carry image inputs yet; use watch() on the stock trainer")
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    keep = inputs["completion_ids"].size(1)
    labels = ids.masked_fill(attention == 0, -100)
    labels[:, :-keep] = -100
    with trainer.accelerator.autocast():
        routed = {"output_router_logits": True} if _balances(trainer) else {}
        outputs = model(input_ids=ids, attention_mask=attention, labels=labels, fused_lm_head=True, **routed)
    return Scores(
        outputs.log_probs[:, -keep:], outputs.entropy[:, -keep:], outputs.aux_loss if _balances(trainer) else None
    )


def with_balance(trainer: Any, loss: Tensor, balance: Tensor | None) -> Tensor:
    """The loss and the host's own load-balancing term, logged under its key, as the stock loss does."""
    if balance is None:
        return loss
    training = trainer.model.training
    mean = trainer.accelerator.gather_for_metrics(balance).mean().item()
    trainer._metrics["train" if training else "eval"]["aux_loss"].append(mean)
    pieces = trainer.current_gradient_accumulation_steps if training else 1.0
    return loss + trainer.router_aux_loss_coef * balance / pieces


def _balances(trainer: Any) -> bool:
    return getattr(trainer, "aux_loss_enabled", False)


def host_reduce(trainer: Any, inputs: dict[str, Any], reduction: Reduction | None = None) -> Any:
    """The trainer's own average of token losses, in its own order of operations: neutral is then stock bit for bit.

    With ``reduction`` the average of that name, whatever the trainer's loss type is.
    """
    training = trainer.model.training
    kind = trainer.loss_type if reduction is None else AVERAGES[reduction]
    accumulation = trainer.current_gradient_accumulation_steps if training else 1.0

    def reduce(loss: Tensor, mask: Tensor) -> Tensor:
        if "importance_sampling_ratio" in inputs:  # TRL's correction for a sampler such as vLLM
            loss = loss * inputs["importance_sampling_ratio"]
        # where, not *: a masked token may hold nan or inf; for finite values the bits are those of loss * mask
        kept, weights = torch.where(mask, loss, 0.0), completion_mask(inputs)
        if kind == "grpo":
            return (kept.sum(-1) / weights.sum(-1).clamp(min=1.0)).mean() / accumulation
        if kind == "bnpo":
            return kept.sum() / weights.sum().clamp(min=1.0) / accumulation
        if kind == "dr_grpo":
            return kept.sum() / (loss.size(0) * trainer.max_completion_length) / accumulation
        items = inputs["num_items_in_batch"].clamp(min=1.0) / trainer.accelerator.num_processes
        if training:  # an evaluation's batch is neither cut nor accumulated
            items = items * accumulation / trainer.args.steps_per_generation
        return kept.sum() / items

    return reduce


def log_entropy(trainer: Any, step: StepBatch) -> None:
    """Log the host's own key ``entropy``, the token mean over all ranks, as its stock loss does."""
    assert step.entropy is not None
    parts = torch.stack([torch.where(step.mask, step.entropy, 0.0).sum(), step.mask.sum().float()])
    total = trainer.accelerator.reduce(parts, reduction="sum")
    mode = "train" if trainer.model.training else "eval"
    trainer._metrics[mode]["entropy"].append((total[0] / total[1].clamp(min=1.0)).item())
