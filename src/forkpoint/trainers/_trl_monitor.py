"""The observer of a TRL trainer: reads what passes by, writes the record, and changes no number of the training."""

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from forkpoint.alarms import Alarm, Watch
from forkpoint.batch import Mean, Plan, StepBatch
from forkpoint.credit._rule import seeing_touched
from forkpoint.credit._select import Draw, seeing_draws
from forkpoint.metrics import measure
from forkpoint.record.checkpoints import step_of
from forkpoint.record.remove import remove_run
from forkpoint.record.schema import HEADER
from forkpoint.record.write import RunWriter
from forkpoint.roles import masks
from forkpoint.tasks import Task, said
from forkpoint.trainers import _trl_host as host
from forkpoint.trainers._columns import stated
from forkpoint.trainers._evaluation import Evaluation, evaluate, label_tokens, spread_out, trait_means, verdict_means
from forkpoint.trainers._guards import (
    OnAlarm,
    controller_guards,
    draw_guards,
    group_guards,
    misfit_guards,
    plan_guards,
    range_guards,
    sound,
    touch_guards,
)
from forkpoint.trainers._readings import Readings, everywhere, gathered, merge
from forkpoint.trainers._trackers import Trackers
from forkpoint.trainers._trl_control import definitions as control_definitions
from forkpoint.trainers._trl_resume import Checkpoints, NothingLeft
from forkpoint.trainers._trl_settings import stock_method
from forkpoint.trainers._trl_states import add_reference, with_rank
from forkpoint.verify import score

MAY_DIFFER = (
    *("out", "overwrite", "resume", "threads", "on_alarm", "strict_log", "save_every", "keep_checkpoints", "keep_mb"),
    *("output_dir", "logging_dir", "run_name", "resume_from_checkpoint", "save_steps", "save_total_limit", "report_to"),
    *("disable_tqdm", "hub_token", "push_to_hub"),
)
"""settings, of ``RunConfig`` and of TRL, that decide where things go and not what is trained"""


class Monitor(TrainerCallback):
    """Hooks into a trainer's rewards, generation, loss and model, and keeps one record line per optimizer step."""

    def __init__(
        self, trainer: Any, place: Path, *, task: Task | None, evaluation: Evaluation | None, keep: int
    ) -> None:
        if evaluation is not None and task is None:
            raise ValueError("watch: evaluation needs a task to take problems from; give task=...")
        if evaluation is not None and trainer.accelerator.distributed_type in host.SHARDED:
            raise ValueError(
                "watch: evaluation samples on one process, and this model is sharded; leave evaluation out"
            )
        self.trainer, self.place, self.task, self.evaluation, self.keep = trainer, place, task, evaluation, keep
        self.readings: Readings = {}
        self.outputs: Any = None
        self.generation = 0
        self.pending: tuple[int, dict[str, float]] | None = None
        self.awaited: dict[int, dict[str, Any]] = {}
        self.known_traits: dict[str, None] = {}
        self.writer: RunWriter | None = None
        self.failed = False
        self.draws: list[Draw] = []
        self.touched: Counter[int] = Counter()
        self.checkpoints = Checkpoints(trainer, self, place)

    def prepare(
        self,
        *,
        config: dict[str, Any] | None,
        name: str,
        overwrite: bool,
        resume: bool,
        on_alarm: OnAlarm,
        writing: dict[str, Any],
        left_out: frozenset[str],
    ) -> None:
        """Settle what the record's header will say, how it is written (``RunWriter``) and without which columns.

        The record is opened when training begins.
        """
        self.on_alarm: OnAlarm = on_alarm
        self.writing, self.left_out = writing, left_out
        method = getattr(self.trainer, "forkpoint_method", None)
        about = stock_method(self.trainer.args)
        if method is not None:
            about = {"name": method.name, "settings": dict(method.settings), "intervenes": method.intervenes}
        samples = self.evaluation.samples if self.evaluation is not None else 0
        self.overwrite, self.resume = overwrite, resume
        self.alarms = Watch(acts=about["intervenes"] if method is None else method.must_act)
        self.header: dict[str, Any] = {
            "name": name or about["name"],
            "config": json.loads(self.trainer.args.to_json_string()) if config is None else config,
            "method": about,
            "task": getattr(self.task, "name", ""),
            "seed": self.trainer.args.seed,
            "definitions": stated(getattr(self.trainer.args, "temperature", 1.0), samples)
            | (control_definitions(method) if method is not None else {}),
        }

    def _open(self, checkpoint: str | None) -> None:
        self.writer = None
        if not self.trainer.accelerator.is_main_process:
            return
        # a run that was not watched before its checkpoint begins its record there
        if (self.place / HEADER).exists() and (checkpoint is not None or self.resume):
            step = 0 if checkpoint is None else step_of(checkpoint)
            about = {"config": self.header["config"], "ignore": MAY_DIFFER}
            self.writer = RunWriter.resume(self.place, step, **about, **self.writing)
            return
        if self.overwrite:
            remove_run(self.place)
        self.writer = RunWriter.create(self.place, **self.header, **self.writing)

    def attach(self) -> None:
        trainer = self.trainer
        trainer.model.register_forward_hook(self._see_forward)
        if host.generates(trainer):
            host.note_rewards(trainer)
            host.wrap_generation(trainer, self._see_generation)
        trainer.compute_loss = self._see_loss(trainer.compute_loss)
        trainer.train = self._see_training(trainer.train)
        # ahead of the reporters: they send the logs as they stand when their turn comes
        trainer.callback_handler.callbacks[:0] = [self, self.checkpoints]
        self.trackers = Trackers(trainer)
        if not self.writing.get("strict"):
            self.trackers.survive()

    # ---- what passes by -------------------------------------------------------------------------------------------

    def _see_forward(self, module: Any, args: Any, output: Any) -> None:
        if torch.is_grad_enabled() and getattr(output, "entropy", None) is not None:
            self.outputs = output

    def _see_generation(self, original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def wrapped(inputs: list[dict[str, Any]]) -> dict[str, Any]:
            batch = original(inputs)
            if self.trainer.model.training:
                self._take_rollout(batch)
            return batch

        return wrapped

    def _see_loss(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(original)
        def wrapped(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
            self.outputs = None
            loss = original(model, inputs, *args, **kwargs)
            if self.trainer.model.training and self.outputs is not None:
                weight = host.loss_weight(self.trainer, kwargs.get("num_items_in_batch"))
                self._take_step(inputs, Mean((loss[0] if isinstance(loss, tuple) else loss).item(), weight))
                self.outputs = None  # holds the graph
            return loss

        return wrapped

    def _see_training(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """The record closes with how the training ended; leaving the writer's context says failed or stopped."""

        @functools.wraps(original)
        def wrapped(resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
            checkpoint = self.checkpoints.choose(resume_from_checkpoint)
            # a training of this trainer may have broken off within a step
            self.readings, self.pending, self.failed = {}, None, False
            self._open(checkpoint)
            with contextlib.ExitStack() as within:
                if self.writer is not None:
                    within.enter_context(self.writer)
                self.draws, self.touched = within.enter_context(seeing_draws()), within.enter_context(seeing_touched())
                try:
                    return original(checkpoint, *args, **kwargs)
                except NothingLeft:
                    return host.end_without_a_step(self.trainer, checkpoint)

        return wrapped

    def state(self) -> dict[str, Any]:
        """What a resumed run needs of the observer, as JSON."""
        return {
            "generation": self.generation,
            "awaited": {str(identity): row for identity, row in self.awaited.items()},
            "known_traits": list(self.known_traits),
            "alarms": self.alarms.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Undo ``state``."""
        self.generation = state["generation"]
        self.awaited = {int(identity): row for identity, row in state["awaited"].items()}
        self.known_traits = dict.fromkeys(state["known_traits"])
        self.alarms.restore(state["alarms"])

    # ---- what is made of it ---------------------------------------------------------------------------------------

    def _take_rollout(self, batch: dict[str, Any]) -> None:
        """Give each row its identity, reward and labels; count verdicts and what kinds of completions there are."""
        add_reference(self.trainer, host.number_rows(self.trainer, batch))
        reward = batch["forkpoint_reward"]
        scored = reward[~reward.isnan()]
        merge(self.readings, {"reward": Mean(float(scored.sum()), len(scored))})
        if self.task is None:
            merge(self.readings, {"guard/no_verdict_share": Mean(len(reward) - len(scored), len(reward))})
        merge(self.readings, misfit_guards(getattr(self.trainer, "forkpoint_method", None), reward))
        written = host.written(self.trainer, batch)
        merge(self.readings, group_guards(batch, written))
        merge(self.readings, range_guards(self.trainer.reward_funcs, host.own_rewards(self.trainer, len(reward))))
        self.generation += 1
        self._describe(batch, written)

    def _describe(self, batch: dict[str, Any], written: Tensor) -> None:
        tokenizer, prompts = host.tokenizer(self.trainer), self.trainer.forkpoint_prompts
        ids = [row[mask].tolist() for row, mask in zip(batch["completion_ids"], written, strict=True)]
        about: list[dict[str, Any]] = [{} for _ in ids]
        if self.task is not None:
            about = self._judge(ids, batch, written)
        for i in spread_out(len(ids), self.keep):
            text = tokenizer.decode(ids[i], skip_special_tokens=True)
            row = {"prompt": str(prompts[i]), "text": text, "token_ids": ids[i], **about[i]}
            row["tokens"] = tokenizer.convert_ids_to_tokens(ids[i])
            # what the record shall not hold, a checkpoint shall not hold either
            self.awaited[int(batch["forkpoint_row_id"][i])] = self._without([row])[0]

    def _judge(self, ids: list[list[int]], batch: dict[str, Any], written: Tensor) -> list[dict[str, Any]]:
        task, tokenizer = self.task, host.tokenizer(self.trainer)
        assert task is not None
        problems = [task.read(said(prompt)) for prompt in self.trainer.forkpoint_prompts]
        texts = [tokenizer.decode(row, skip_special_tokens=True) for row in ids]
        tokens = [tokenizer.convert_ids_to_tokens(row) for row in ids]
        # the task's own reward has judged these rows already: a second time may cost much, and end otherwise
        judges = [f for f in self.trainer.reward_funcs if getattr(f, "task", None) is task]
        verdicts = judges[0].verdicts if judges else score(task, problems, texts)
        traits = [task.traits(p, text) for p, text in zip(problems, texts, strict=True)]
        if "forkpoint_label" not in batch:
            batch["forkpoint_label"] = label_tokens(task, problems, tokens, written)
        means = trait_means(traits, tuple(self.known_traits))
        self.known_traits |= dict.fromkeys(means)
        merge(self.readings, means | verdict_means(verdicts))
        return [
            {"prompt_id": p.id, "verdict": v.outcome, "verdict_reason": v.reason, "traits": json.dumps(t)}
            for p, v, t in zip(problems, verdicts, traits, strict=True)
        ]

    def _take_step(self, inputs: dict[str, Any], loss: Mean) -> None:
        merge(self.readings, {"loss": loss})
        if not host.generates(self.trainer):
            merge(self.readings, entropies(host.plain_batch(self.outputs)))
            return
        keep = inputs["completion_ids"].size(1)
        logp, entropy = (tensor.detach()[:, -keep:] for tensor in (self.outputs.log_probs, self.outputs.entropy))
        step = host.step_batch(with_rank(self.trainer, inputs), logp, entropy)
        roles = masks(step)
        # a shuffled micro-batch holds parts of groups: what needs whole ones is measured at evaluation
        merge(self.readings, measure(replace(step, group=None), roles=roles))
        plan = getattr(self.trainer, "forkpoint_plan", None)
        if plan is not None:
            merge(
                self.readings,
                plan_shares(step, plan, roles) | plan_guards(step, plan, self.trainer.forkpoint_control.method),
            )
            merge(self.readings, touch_guards(self.touched, self.trainer.forkpoint_method.rests))
        merge(self.readings, draw_guards(self.draws))
        self.draws.clear()
        self.touched.clear()
        if self.awaited and step.row_id is not None:
            self._write_rollouts(step, plan)

    def _write_rollouts(self, step: StepBatch, plan: Plan | None) -> None:
        """The kept completions of this micro-batch, with what the first update on them saw."""
        rows = []
        for i, identity in enumerate(step.identity.tolist()):
            row = self.awaited.pop(identity, None)
            if row is None:
                continue
            chosen = step.mask[i]
            row |= {"kind": "train", "step": self.trainer.state.global_step + 1, "generation_step": self.generation}
            row["group"], row["sample"] = divmod(identity, self.trainer.num_generations)
            row |= {"update": 0, "attempt": 0, "advantage": float(step.advantage[i])}
            row["reward"] = float("nan") if step.reward is None else float(step.reward[i])
            columns = {"logp_sampler": step.logp_old, "logp_trainer": step.logp, "entropy": step.entropy}
            columns |= {"label": step.label} | ({"weight": plan.weight, "mark": plan.mark} if plan is not None else {})
            # a truncated row that the loss leaves out has its text, and no numbers by token
            kept = columns if chosen.any() else {}
            row |= {name: column[i][chosen].tolist() for name, column in kept.items() if column is not None}
            rows.append(row)
        if rows and self.writer is not None:
            self.writer.rollouts(self._without(rows))

    # ---- the trainer's own calls ----------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:  # a resumed run was evaluated at its checkpoint
            self.alarms.take(0, self._evaluate(0), "eval")  # the first reading, which others are measured by

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._flush()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        whole = gathered(self.trainer.accelerator, self.readings)
        self.readings = {}
        values = {key: float(reading.value) for key, reading in whole.items()}
        control_of = getattr(self.trainer, "forkpoint_control", None)
        values |= controller_guards(control_of) | (control_of.columns(state.global_step) if control_of else {})
        if self.trackers.found:
            values["guard/tracker_failures"] = float(self.trackers.failures)
        self.pending = (state.global_step, values | self._sound(self.alarms.take(state.global_step, values), control))
        if self.evaluation is not None and (
            state.global_step % self.evaluation.every == 0 or state.global_step == state.max_steps
        ):
            read = self._evaluate(state.global_step)
            raised = self._sound(self.alarms.take(state.global_step, read, "eval"), control)
            self.pending = (state.global_step, self.pending[1] | raised)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Our readings join the host's logs under our own keys, and the host's scalars join our record line."""
        if self.pending is None or self.pending[0] != state.global_step or logs is None:
            return
        theirs = {key: float(value) for key, value in logs.items() if isinstance(value, int | float)}
        news = {key: value for key, value in theirs.items() if key not in self.pending[1]}
        ours = self.pending[1] | self._sound(self.alarms.take(state.global_step, news), control)
        logs |= {key: value for key, value in ours.items() if key not in logs}
        self.pending = (self.pending[0], theirs | ours)
        self._flush()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # a checkpoint must not be ahead of the record
        self._flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._flush()
        if self.writer is not None:
            self.writer.close("done" if state.global_step >= state.max_steps else "stopped")

    def _sound(self, found: list[Alarm], control: Any) -> dict[str, float]:
        self.failed = self.failed or any(alarm.severity == "error" for alarm in found)
        return sound(found, control, on_alarm=self.on_alarm, aloud=self.trainer.accelerator.is_main_process)

    def _flush(self) -> None:
        if self.pending is not None and self.writer is not None:
            self.writer.metrics("train", *self.pending)
        self.pending = None

    def _evaluate(self, step: int) -> dict[str, float]:
        """Evaluate on the main process; what it read, on every process, so that all act alike on its alarms."""
        if self.evaluation is None or self.task is None:
            return {}
        return everywhere(self.trainer.accelerator, self._evaluated(step, self.task, self.evaluation))

    def _evaluated(self, step: int, task: Task, evaluation: Evaluation) -> dict[str, float]:
        if not self.trainer.accelerator.is_main_process:
            return {}
        done = evaluate(self.trainer.model, host.tokenizer(self.trainer), task, evaluation, keep=self.keep)
        for key in self.known_traits:
            done.values.setdefault(key, 0.0)
        self.known_traits |= dict.fromkeys(done.traits)
        if self.writer is not None:
            self.writer.metrics("eval", step, done.values)
            self.writer.rollouts(self._without([row | {"kind": "eval", "step": step} for row in done.rollouts]))
        return done.values

    def _without(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows without the columns that shall not be recorded."""
        return [{name: value for name, value in row.items() if name not in self.left_out} for row in rows]


def entropies(step: StepBatch) -> Readings:
    """The readings of a step that was given, not sampled: an advantage or a ratio would mean nothing there.

    Nor would ``entropy/sampled``, which of a given text is its cross-entropy.
    """
    return {key: one for key, one in measure(step).items() if "entropy" in key and key != "entropy/sampled"}


def plan_shares(step: StepBatch, plan: Plan, roles: Mapping[str, Tensor]) -> dict[str, Mean]:
    """Shares of the step's tokens that the plan marked, and that it took out of the loss; what it teaches, by role."""
    tokens = float(step.mask.sum())
    taught = plan.advantage * plan.weight
    chosen = {"advantage/taught": step.mask} | {f"advantage/taught/{role}": mask for role, mask in roles.items()}
    return {
        "control/marked_share": Mean(float((plan.mark & step.mask).sum()), tokens),
        "control/removed_share": Mean(float(((plan.weight == 0) & step.mask).sum()), tokens),
        **{key: Mean(float(taught[mask].sum()), float(mask.sum())) for key, mask in chosen.items()},
    }
