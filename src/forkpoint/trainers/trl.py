"""TRL: ``watch`` a trainer with one line, ``manage`` a GRPO trainer class with two.

    trainer = manage(GRPOTrainer, method="kl_cov", share=0.02)(model=..., reward_funcs=..., args=..., train_dataset=...)
    watch(trainer, out="runs/mine")

TRL's private names stand in ``_trl_host``, which checks them before a run starts.
"""

import math
import warnings
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from forkpoint.batch import Plan, Rows
from forkpoint.credit import is_row_local
from forkpoint.methods import Method, build
from forkpoint.metrics._prefix_rank import STRIDE
from forkpoint.record.schema import PER_TOKEN, TEXT_COLUMNS
from forkpoint.tasks import Task
from forkpoint.trainers import _trl_host as host
from forkpoint.trainers._guards import OnAlarm
from forkpoint.trainers._labels import (
    Labeler,
    absent_roles,
    forks_by_reference,
    labeled_by,
    labeled_by_grams,
    reads_labels,
    reads_reference,
)
from forkpoint.trainers._trl_control import Control
from forkpoint.trainers._trl_monitor import Evaluation, Monitor
from forkpoint.trainers._trl_resume import last_complete
from forkpoint.trainers._trl_settings import check_class, check_settings, without_effect
from forkpoint.trainers._trl_shift import Shifted
from forkpoint.trainers._trl_states import add_reference, note_reference, note_states, with_rank
from forkpoint.trainers._trl_step import Planner, Scope, pieces, sees_whole_step

__all__ = ["Evaluation", "forks_by_reference", "labeled_by_grams", "last_complete", "manage", "watch"]


def watch(
    trainer: Any,
    *,
    out: str | Path | None = None,
    task: Task | None = None,
    evaluation: Evaluation | None = None,
    config: dict[str, Any] | None = None,
    name: str = "",
    record_rollouts: int = 16,
    record_text: bool = True,
    record_tokens: bool = True,
    overwrite: bool = False,
    resume: bool = False,
    on_alarm: OnAlarm = "log",
    strict_log: bool = False,
    keep_bytes: int | None = None,
    rank: bool | int = False,
    reference: Any = None,
) -> Any:
    """Measure every step of a TRL trainer and keep a record; returns the trainer. Training is not changed by a bit.

    Args:
        trainer: a ``GRPOTrainer`` or ``RLOOTrainer``, a subclass of one, or a class made by ``manage``. Of one that
            samples nothing (SFT, DPO) the entropies of the tokens it learns from are read, and no more.
        out: the run folder; None takes ``forkpoint`` inside the trainer's ``output_dir``.
        task: labels tokens by role and tells formats and verdicts; without one these columns are left out.
        evaluation: held-out evaluation by a cadence; needs ``task``.
        config: what to store as the run's configuration; None takes the trainer's arguments.
        name: what the run is called on the page; the method's name where empty.
        record_rollouts: completions kept per rollout and per evaluation, spread over it.
        record_text: keep what they say and were asked; without it the record holds numbers and token ids only.
        record_tokens: keep their columns per token.
        overwrite: replace a run that is already in the folder; its other files stay.
        resume: go on with a run that is already in the folder, also where no checkpoint was saved yet. Steps that it
            has done are done again, and compared with its record.
        on_alarm: what an alarm (``forkpoint.alarms``) does: ``log`` a line on stderr and in the record, also save a
            ``checkpoint``, or save and ``stop``; after an error, such as a loss that is nan, nothing extra is saved. A
            reward function declares what it may return as ``reward_range = (low, high)``.
        strict_log: stop where the record cannot be written (a full disk) or a tracker fails; by default training goes
            on, what could not be written waits in memory for room, and a tracker's errors are counted.
        keep_bytes: most bytes of recorded completions to keep, the newest; None keeps all.
        rank: record the effective rank of hidden states (``rank/...``). A number is that of tokens between two
            prefixes, True the paper's 40: an answer of fewer than 81 has no velocity then.
        reference: a frozen policy, or the name of one, whose entropy tells ``reference_fork`` tokens; one more forward
            per rollout, without gradient.

    What TRL's checkpoints leave out (the rollout in use, the place in it, the sampler, this observer) is saved beside
    them, so that ``trainer.train(resume_from_checkpoint=last_complete(output_dir))`` goes on bit for bit on the CPU.

    Raises HostError where this TRL lacks a name we rely on, or the trainer is watched already; training raises
    RecordError where the folder already holds a run.
    """
    host.check_host(trainer)
    if on_alarm not in get_args(OnAlarm):
        raise ValueError(f"watch: on_alarm={on_alarm!r}; it is one of {', '.join(get_args(OnAlarm))}")
    if any(isinstance(callback, Monitor) for callback in trainer.callback_handler.callbacks):
        raise host.HostError("watch: this trainer is watched already; make a new trainer to watch it otherwise")
    place = Path(out) if out is not None else Path(trainer.args.output_dir) / "forkpoint"
    if rank is not False:
        note_states(trainer, STRIDE if rank is True else rank)
    if reference is not None:
        note_reference(trainer, reference)
    monitor = Monitor(trainer, place, task=task, evaluation=evaluation, keep=record_rollouts)
    monitor.prepare(
        config=config,
        name=name,
        overwrite=overwrite,
        resume=resume,
        on_alarm=on_alarm,
        writing={"strict": strict_log, "keep": keep_bytes},
        left_out=frozenset((() if record_text else TEXT_COLUMNS) + (() if record_tokens else PER_TOKEN)),
    )
    monitor.attach()
    return trainer


def manage(
    trainer_class: type,
    *,
    method: str | Method = "grpo",
    scope: Scope = "step",
    labels: Labeler | Task | forks_by_reference | None = None,
    reference: Any = None,
    **settings: float | str,
) -> Any:
    """A subclass of a TRL trainer class whose loss is made by ``method``; everything else stays the trainer's.

    The neutral method ``grpo`` equals the stock loss bit for bit. What a method selects, it selects over the whole
    optimizer step: where that is cut into micro-batches or ranks, the plan is made at the first of them, after one
    extra pass without gradient over the step's rows. A method with ``at="rollout"`` reads the log-probs of the policy
    that sampled, which TRL keeps wherever ratios can differ from one: no extra pass.

    Args:
        trainer_class: ``GRPOTrainer`` or your own subclass of it.
        method: a method's name, ``"module:function"``, or a ``Method``.
        scope: ``micro_batch`` selects inside each micro-batch, as the published code does; for comparison.
        labels: what tells the roles of tokens, to methods that read them and to columns by role: a task,
            ``labeled_by_grams``, ``forks_by_reference`` or ``(prompts, token_ids, mask, tokenizer) -> labels``.
        reference: a frozen policy, or the name of one, for methods that read its entropy.
        settings: the method's settings where they differ from the paper's.

    Raises ValueError for a wrong method, setting or scope, for labels that cannot label, and for a class that is no
    GRPO trainer's or whose own ``compute_loss`` would be lost; the class raises HostError when it is constructed with a
    config that contradicts the method.
    """
    check_class(trainer_class)
    _refuse_wrong_kinds(method, scope, labels)
    chosen = build(method, **settings) if isinstance(method, str) else method.with_knobs(**settings)
    forks = labels if isinstance(labels, forks_by_reference) else None

    class Managed(host.NumbersRows, trainer_class):
        forkpoint_method = chosen
        forkpoint_plan = None
        forkpoint_labeled = False

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            host.check_host(self)
            host.note_rewards(self)
            check_settings(self.args, chosen)
            for line in without_effect(self.args, chosen):
                warnings.warn(line, stacklevel=2)
            if labels is None and reads_labels(chosen):
                remedy = "give manage(..., labels=task), or a function that labels"
                raise host.HostError(f"{chosen.name} reads the roles of tokens: {remedy}")
            if forks is None:
                self.forkpoint_labeler = labeled_by(labels) if isinstance(labels, Task) else labels
            if "rank" in chosen.reads:
                note_states(self, chosen.rank_stride)
                if (self.args.max_completion_length or math.inf) <= 2 * chosen.rank_stride:
                    said = f"{chosen.name} reads how the rank moves between prefixes {chosen.rank_stride} tokens apart"
                    remedy = f"which no answer of {self.args.max_completion_length} tokens has two of; set stride lower"
                    warnings.warn(f"{said}, {remedy}", stacklevel=2)
            if reference is not None:
                note_reference(self, reference)
            elif forks is not None or reads_reference(chosen):
                reader = chosen.name if forks is None else "forks_by_reference"
                said = f"{reader} reads a frozen policy's entropy: give manage(..., reference=model)"
                raise host.HostError(said)
            if self.beta != 0.0:
                raise host.HostError(f"beta={self.beta}: a managed loss carries no reference KL term yet; set beta=0")
            self.forkpoint_control = Control(self, chosen)
            self.add_callback(self.forkpoint_control)
            if chosen.shift is not None:
                Shifted(self, self.forkpoint_control)
            self.forkpoint_planner = Planner(self.forkpoint_control, scope)
            wide = not all(map(is_row_local, chosen.credit))
            if wide and pieces(self) > 1 and not (scope == "step" and sees_whole_step(self.args)):
                said = f"{chosen.name} selects tokens inside each of {pieces(self)} micro-batches, not over the step"
                warnings.warn(said, stacklevel=2)

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            batch = super()._generate_and_score_completions(inputs)
            if not self.model.training:
                return batch
            batch = add_reference(self, batch)
            if forks is not None:
                mask = host.completion_mask(batch).bool()
                batch["forkpoint_label"] = forks.label(batch["forkpoint_entropy_reference"], mask)
            if "forkpoint_label" in batch and not self.forkpoint_labeled:
                self.forkpoint_labeled = True
                for said in absent_roles(chosen, batch["forkpoint_label"]):
                    warnings.warn(said, stacklevel=2)
            return batch

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Tensor:
            if return_outputs:
                raise ValueError("GRPO losses return no outputs; call compute_loss with return_outputs=False")
            # before the pass that keeps a graph: this one needs the memory
            plan = self.forkpoint_planner.rows_of_whole(self, model, inputs)
            now = self.forkpoint_control.method
            logp, entropy, balance = host.score_tokens(self, model, inputs)
            step = host.step_batch(with_rank(self, inputs), logp.detach(), entropy.detach())
            if plan is None:
                # an evaluation's batch brings no identities, groups or labels: nothing is selected there
                key = (self.args.seed, self.state.global_step)
                plan = now.plan(step, key=key) if self.model.training else Plan.neutral(step)
            self.forkpoint_plan = plan
            if self.model.training:
                self.forkpoint_control.see(step)
            rows = Rows(logp, step.logp_old, step.mask, entropy)
            host.log_entropy(self, step)
            loss = now.loss(rows, plan, host.host_reduce(self, inputs, now.reduction))
            return host.with_balance(self, loss, balance)

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                place = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
                self.forkpoint_control.save(place)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            super()._load_optimizer_and_scheduler(checkpoint)
            if checkpoint is not None:
                self.forkpoint_control.load(Path(checkpoint))

    Managed.__name__ = Managed.__qualname__ = f"Managed{trainer_class.__name__}"
    return Managed


def _refuse_wrong_kinds(method: Any, scope: Any, labels: Any) -> None:
    if not isinstance(method, str | Method):
        raise ValueError(f"manage: method={method!r}; give a method's name, 'module:function', or a Method")
    if scope not in get_args(Scope):
        raise ValueError(f"manage: scope={scope!r}; it is one of {', '.join(get_args(Scope))}")
    known = labels is None or isinstance(labels, Task | forks_by_reference)
    if isinstance(labels, type) or not (known or callable(labels)):
        raise ValueError(
            f"manage: labels={labels!r}; give a task, forks_by_reference(...), labeled_by_grams(grams), or a function "
            "(prompts, token_ids, mask, tokenizer) -> labels"
        )
