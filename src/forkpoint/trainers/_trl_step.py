"""The whole optimizer step of a TRL trainer, planned at its first micro-batch: over all micro-batches and ranks."""

from dataclasses import fields, replace
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit import is_row_local
from forkpoint.methods import Method
from forkpoint.trainers import _trl_host as host
from forkpoint.trainers._ranks import ranks_of
from forkpoint.trainers._trl_control import Control
from forkpoint.trainers._trl_states import with_rank

Scope = Literal["step", "micro_batch"]


class Planner:
    """Makes a method's plan once per optimizer step and hands each micro-batch its rows of it.

    A step that is one micro-batch on one process needs none of this: its own forward is the whole step.
    """

    def __init__(self, control: Control, scope: Scope) -> None:
        self.control, self.scope = control, scope
        self.made_for = -1
        self.row_id: Int[Tensor, " B"] = torch.empty(0, dtype=torch.long)
        self.plan: Plan | None = None

    def forget(self) -> None:
        """Make the next step's plan anew: a training that broke off may have left one of a step with its number."""
        self.made_for = -1

    @property
    def method(self) -> Method:
        return self.control.method

    def rows_of_whole(self, trainer: Any, model: Any, inputs: dict[str, Any]) -> Plan | None:
        """These rows of the step's plan; None where the plan is to be made on the micro-batch itself."""
        # a rule that looks at one row at a time needs no more than the micro-batch, and so no extra pass
        if not trainer.model.training or all(map(is_row_local, self.method.credit)) or not self._whole(trainer):
            return None
        rows = inputs["forkpoint_row_id"]
        if self.made_for != trainer.state.global_step or not torch.isin(rows, self.row_id).all():
            self._make(trainer, model)
        assert self.plan is not None
        order = torch.argsort(self.row_id)
        part = self.plan.rows(order[torch.searchsorted(self.row_id[order], rows)])
        length = inputs["completion_ids"].size(1)
        return Plan(part.advantage[:, :length], part.weight[:, :length], part.mark[:, :length])

    def _make(self, trainer: Any, model: Any) -> None:
        step = StepBatch.join(self._window(trainer, model))
        ranks = ranks_of(trainer.accelerator)
        step = replace(step, ranks=ranks) if self.method.sharded else gathered(trainer, step)
        self.plan = self.method.plan(step, key=(trainer.args.seed, trainer.state.global_step))
        self.row_id, self.made_for = step.identity, trainer.state.global_step

    def _window(self, trainer: Any, model: Any) -> list[StepBatch]:
        """The step's micro-batches on this process; no pass is needed where the sampler's log-probs are enough."""
        parts = host.window(trainer)
        kept = all(part.get("old_per_token_logps") is not None for part in parts)
        if self.method.plans_at == "rollout" and kept and "rank" not in self.method.reads:
            return [host.step_batch(part, part["old_per_token_logps"], None) for part in parts]
        return scored(trainer, model, parts)

    def _whole(self, trainer: Any) -> bool:
        return self.scope == "step" and pieces(trainer) > 1 and sees_whole_step(trainer.args)


def pieces(trainer: Any) -> int:
    """Into how many micro-batches an optimizer step is cut, over all processes."""
    return trainer.args.gradient_accumulation_steps * trainer.accelerator.num_processes


def sees_whole_step(args: Any) -> bool:
    """Whether a step's micro-batches all come from one rollout, so that they are known at the first of them."""
    return (args.steps_per_generation * args.num_iterations) % args.gradient_accumulation_steps == 0


@torch.no_grad()
def scored(trainer: Any, model: Any, parts: list[dict[str, Any]]) -> list[StepBatch]:
    """Micro-batches under today's policy, by an extra pass without gradient."""
    model.eval()  # a dropout's draw here would move every later one
    try:
        return [_scored(trainer, model, part) for part in parts]
    finally:
        model.train()


def _scored(trainer: Any, model: Any, part: dict[str, Any]) -> StepBatch:
    scores = host.score_tokens(trainer, model, part)
    return host.step_batch(with_rank(trainer, part), scores.logp, scores.entropy)


def gathered(trainer: Any, step: StepBatch) -> StepBatch:
    """The rows of all processes, padded on the right to one length."""
    if trainer.accelerator.num_processes == 1:
        return step
    filled = {f.name: getattr(step, f.name) for f in fields(step) if step.has(f.name) and f.name != "ranks"}
    whole = {}
    for name, value in filled.items():
        # gloo does not gather booleans
        plain = trainer.accelerator.pad_across_processes(
            value.to(torch.uint8) if value.dtype == torch.bool else value, 1
        )
        whole[name] = trainer.accelerator.gather(plain.contiguous()).to(value.dtype)
    return replace(step, **whole)
