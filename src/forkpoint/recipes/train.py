"""Train a policy on a task with TRL, managed and watched, from a ``RunConfig``: what ``forkpoint train`` runs."""

import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from forkpoint.config import RunConfig
from forkpoint.recipes.side_by_side import Show
from forkpoint.record.checkpoints import remove_checkpoints
from forkpoint.record.estimate import estimate_bytes
from forkpoint.record.remove import remove_run
from forkpoint.record.schema import PER_TOKEN, TEXT_COLUMNS
from forkpoint.tasks import Task, said, task_of
from forkpoint.verify import score


def known_columns(config: RunConfig) -> list[str]:
    """The columns that a run is sure to state, before it is begun; those of roles, formats and knobs come later."""
    from forkpoint.trainers._columns import stated

    return list(stated(config.temperature, config.eval_samples))


def train(config: RunConfig, *, show: Show | None = None, tell: Callable[[str], None] | None = None) -> Path:
    """Run it and return the run folder.

    ``show`` is called now and then with ``[config]``, for a progress display, and ``tell`` with a line to be read once.
    Raises ValueError, in one line, for a wrong model, task, method or setting, and RecordError where the folder holds a
    run.
    """
    quiet_libraries()
    from forkpoint.trainers.trl import last_complete, watch

    task = task_of(config.task)
    folder = config.folder
    with _checkpoint_folder(config) as checkpoints:
        trainer = make_trainer(config, task, checkpoints)
        watch(
            trainer,
            out=folder,
            task=task,
            evaluation=_evaluation(config),
            config=config.model_dump(),
            name=config.title,
            record_rollouts=config.record_rollouts,
            record_text=config.record_text,
            record_tokens=config.record_tokens,
            resume=config.resume,
            on_alarm=config.on_alarm,
            strict_log=config.strict_log,
            rank=config.record_rank or False,
            keep_bytes=None if config.keep_mb is None else int(config.keep_mb * 1e6),
        )
        if tell is not None:
            tell(disk_note(config))
        if show is not None:
            trainer.add_callback(_progress(config, show))
        saved = config.folder / "checkpoints"
        if config.overwrite and not config.resume and trainer.accelerator.is_main_process:
            # checkpoints after the run, which is refused while another process writes it
            remove_run(folder)
            remove_checkpoints(saved)
        trainer.train(resume_from_checkpoint=last_complete(saved, run=folder) if config.resume else None)
        trainer.accelerator.end_training()
    return folder


def disk_note(config: RunConfig) -> str:
    """How much disk the record will take at most, and whether it is there; for the beginning of a run."""
    rows = config.record_rollouts * (1 / config.updates_per_rollout + 1 / config.eval_every)
    left_out = (() if config.record_tokens else PER_TOKEN) + (() if config.record_text else TEXT_COLUMNS)
    columns = [name for name in PER_TOKEN if name not in left_out]
    asked = {"rows": rows, "tokens": config.max_tokens, "columns": columns, "text": config.record_text}
    needed = estimate_bytes(config.steps, **asked)
    place = next(folder for folder in (config.folder, *config.folder.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    short = f", and only {free / 1e6:.1f} MB are free there" if free < 2 * needed else ""
    return f"the record will take about {needed / 1e6:.1f} MB in {config.folder}, checkpoints aside{short}"


@contextmanager
def _checkpoint_folder(config: RunConfig) -> Iterator[str]:
    """Where checkpoints go; nowhere that lasts where none is asked for."""
    if not config.save_every and config.on_alarm == "log":
        with TemporaryDirectory(prefix="forkpoint-") as scratch:
            yield scratch
        return
    folder = config.folder / "checkpoints"
    try:
        yield str(folder)
    except BaseException:
        for empty in (folder, folder.parent):  # a trainer makes its folder before its settings are checked
            with suppress(OSError):
                empty.rmdir()
        raise


def make_trainer(config: RunConfig, task: Task, checkpoints: str) -> Any:
    """A managed ``GRPOTrainer`` as ``config`` says; a step sees prompts_per_step x samples_per_prompt rows."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from forkpoint.methods import build
    from forkpoint.policies import load
    from forkpoint.trainers.trl import manage

    if config.threads:
        torch.set_num_threads(config.threads)
    method = build(config.method, **config.settings)
    model, tokenizer = load(config.model)
    rows = config.prompts_per_step * config.samples_per_prompt
    if rows % config.micro_batches:
        raise ValueError(f"micro_batches = {config.micro_batches} does not divide the {rows} rows of a step")
    rollouts = -(-config.steps // config.updates_per_rollout)
    prompts = [p.prompt for p in islice(task.problems("train", config.seed), rollouts * config.prompts_per_step)]
    args = GRPOConfig(
        output_dir=checkpoints,
        seed=config.seed,
        max_steps=config.steps,
        per_device_train_batch_size=rows // config.micro_batches,
        gradient_accumulation_steps=config.micro_batches,
        num_generations=config.samples_per_prompt,
        num_iterations=config.updates_per_rollout,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        max_completion_length=config.max_tokens,
        temperature=config.temperature,
        top_k=0,
        beta=0.0,
        shuffle_dataset=False,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="steps" if config.save_every else "no",
        save_steps=config.save_every or config.steps,
        save_total_limit=config.keep_checkpoints,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = manage(GRPOTrainer, method=method, labels=task)(
        model=model,
        reward_funcs=TaskReward(task, no_verdict=config.no_verdict),
        args=args,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


class TaskReward:
    """A task's verdicts as TRL rewards: 1 correct, 0 wrong.

    A row without a verdict (out of time, a crash) gets None, which TRL leaves out of the group's baseline and gives
    advantage 0; with ``no_verdict="wrong"`` it gets 0, so that a policy gains nothing by upsetting the scorer.
    """

    def __init__(self, task: Task, *, no_verdict: Literal["leave_out", "wrong"] = "leave_out") -> None:
        self.task, self.no_verdict = task, no_verdict
        self.__name__ = f"{task.name}_reward"
        self.reward_range = (0.0, 1.0)

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
        problems = [self.task.read(said(prompt)) for prompt in prompts]
        self.verdicts = verdicts = score(self.task, problems, [said(completion) for completion in completions])
        missing = None if self.no_verdict == "leave_out" else 0.0
        return [missing if verdict.outcome == "none" else float(verdict.correct) for verdict in verdicts]


def quiet_libraries() -> None:
    """Keep the libraries' usage reports and chatter off in our commands; must run before they are imported."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "TRANSFORMERS_NO_ADVISORY_WARNINGS", "TRL_EXPERIMENTAL_SILENCE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # a rename announced between two libraries below us is not the user's to act on
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")


def _progress(config: RunConfig, show: Show) -> Any:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        due = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # reading a long record takes a while: at most once a second, and a fiftieth of the time
            if (now := time.monotonic()) >= self.due:
                show([config])
                self.due = now + max(1.0, 50 * (time.monotonic() - now))

    return Progress()


def _evaluation(config: RunConfig) -> Any:
    from forkpoint.trainers.trl import Evaluation

    return Evaluation(
        problems=config.eval_problems,
        samples=config.eval_samples,
        every=config.eval_every,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        crossed=config.eval_crossed,
    )
