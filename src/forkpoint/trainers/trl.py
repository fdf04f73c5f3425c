"""TRL: ``watch`` a trainer with one line, ``manage`` a GRPO trainer class with two.

trainer = manage(GRPOTrainer, method="kl_cov", share=0.02)(model=..., reward_funcs=..., args=..., train_dataset=...)
watch(trainer, out="runs/mine")
"""

import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from forkpoint.batch import Rows
from forkpoint.methods import Method, build
from forkpoint.tasks import Task
from forkpoint.trainers import _trl_host as host
from forkpoint.trainers._trl_monitor import Evaluation, Monitor

__all__ = ["Evaluation", "manage", "watch"]


def watch(
    trainer: Any,
    *,
    out: str | Path | None = None,
    task: Task | None = None,
    evaluation: Evaluation | None = None,
    config: dict[str, Any] | None = None,
    name: str = "",
    record_rollouts: int = 16,
    overwrite: bool = False,
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
        record_rollouts: completions kept per rollout and per evaluation.
        overwrite: replace a run that is already in the folder; its other files stay.

    Raises HostError where this TRL lacks a name we rely on, RecordError where the folder already holds a run.
    """
    host.check_host(trainer)
    place = Path(out) if out is not None else Path(trainer.args.output_dir) / "forkpoint"
    monitor = Monitor(trainer, place, task=task, evaluation=evaluation, keep=record_rollouts)
    monitor.open(config=config, name=name, overwrite=overwrite)
    monitor.attach()
    return trainer


def manage(trainer_class: type, *, method: str | Method = "grpo", **settings: float) -> Any:
    """A subclass of a TRL trainer class whose loss is made by ``method``; everything else stays the trainer's.

    The neutral method ``grpo`` equals the stock loss bit for bit. The plan covers the micro-batch that ``compute_loss``
    sees: the whole step where a step has one, which a warning says otherwise.

    Args:
        trainer_class: ``GRPOTrainer`` or your own subclass of it.
        method: a method's name, ``"module:function"``, or a ``Method``.
        settings: the method's settings where they differ from the paper's.

    Raises ValueError for a wrong method or setting; the class raises HostError when it is constructed with a config
    that contradicts the method.
    """
    chosen = build(method, **settings) if isinstance(method, str) else method.with_knobs(**settings)

    class Managed(trainer_class):
        forkpoint_method = chosen
        forkpoint_plan = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            host.check_host(self)
            host.check_settings(self.args, chosen)
            if self.beta != 0.0:
                raise host.HostError(f"beta={self.beta}: a managed loss carries no reference KL term yet; set beta=0")
            pieces = self.args.gradient_accumulation_steps * self.accelerator.num_processes
            if chosen.credit and pieces > 1:
                warnings.warn(
                    f"{chosen.name} selects tokens inside each of {pieces} micro-batches, not over the whole step",
                    stacklevel=2,
                )

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            batch = super()._generate_and_score_completions(inputs)
            return host.number_rows(self, batch) if self.model.training else batch

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Tensor:
            if return_outputs:
                raise ValueError("GRPO losses return no outputs; call compute_loss with return_outputs=False")
            logp, entropy = host.score_tokens(self, model, inputs)
            step = host.step_batch(inputs, logp.detach(), entropy.detach())
            plan = chosen.plan(step, key=(self.args.seed, self.state.global_step))
            self.forkpoint_plan = plan
            rows = Rows(logp, step.logp_old, step.mask, entropy)
            host.log_entropy(self, step)
            return chosen.loss(rows, plan, host.host_reduce(self, inputs))

    Managed.__name__ = Managed.__qualname__ = f"Managed{trainer_class.__name__}"
    return Managed
