"""Exact resume of a TRL run: beside each of its checkpoints stands what they leave out, and a list that commits both.

    checkpoint-N/forkpoint/rank-0.safetensors   tensors of process 0: the rollout in use, the sampler's generator
    checkpoint-N/forkpoint/rank-0.json          counters, log averages, the monitor's own state
    checkpoint-N/forkpoint/complete.json        written last; without it the checkpoint does not count

On the CPU the resumed run is the unbroken one bit for bit, wherever a checkpoint falls: inside a rollout that serves
several updates, on an epoch's boundary or beyond, with one process or several.
"""

import warnings
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors.torch import load, save
from torch import Tensor
from transformers import TrainerCallback

from forkpoint.record import Run, checkpoints, open_run
from forkpoint.record.documents import read_document, write_bytes, write_document
from forkpoint.record.schema import HEADER
from forkpoint.trainers import _trl_state as state
from forkpoint.trainers._trl_host import HostError


@runtime_checkable
class Carried(Protocol):
    """Whatever else has to come along: JSON out, and the same JSON back in."""

    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...

    @property
    def failed(self) -> bool:
        """Whether an error was seen in this training, after which weights may be broken."""
        ...


class NothingLeft(Exception):
    """The checkpoint is of the last step; the trainer's loop, once entered, would do one more."""


class Checkpoints(TrainerCallback):
    """Completes a trainer's checkpoints, and puts back what they hold when it resumes."""

    def __init__(self, trainer: Any, carried: Carried, record: Path) -> None:
        self.trainer, self.carried, self.record = trainer, carried, record
        self.found: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self.epoch_began: Tensor | None = None
        self.sound: Path | None = None
        self.run_id = ""
        self.keep = trainer.args.save_total_limit
        if not trainer.args.save_only_model:
            # the trainer would delete the older checkpoint before the new one is committed
            trainer.args.save_total_limit = None

    def choose(self, asked: str | Path | bool | None) -> str | None:
        """The checkpoint that ``trainer.train(resume_from_checkpoint=asked)`` shall take; True is the newest complete.

        Raises RecordError for one that was named and is damaged or another run's, ValueError where there is none.
        """
        self.found = None
        if asked is None or asked is False:
            return None
        if asked is True:
            chosen = last_complete(self.trainer.args.output_dir, run=self.record)
            if chosen is None:
                remedy = "start without resuming, or name one that an unwatched run saved"
                raise ValueError(f"{self.trainer.args.output_dir}: holds no complete checkpoint; {remedy}")
        else:
            chosen = str(asked)
            if not Path(chosen).is_dir():
                raise ValueError(f"{chosen}: no such checkpoint; name another, or start without resuming")
        if not (Path(chosen) / "forkpoint").is_dir():
            warnings.warn(
                f"{chosen} was saved by an unwatched run: not exact inside a rollout or after the first epoch",
                stacklevel=4,
            )
            return chosen
        if asked is not True:  # hashing a large checkpoint twice would take minutes
            checkpoints.verify(chosen, _run(self.record))
        file = self._file(Path(chosen))
        if not file.with_suffix(".json").exists():
            raise HostError(
                f"{chosen} holds nothing of process {self._rank}; resume with as many processes as saved it"
            )
        values = read_document(file.with_suffix(".json"))
        state.check(self.trainer, values)
        self.found = (load(file.with_suffix(".safetensors").read_bytes()), values)
        return chosen

    # ---- the trainer's calls ----------------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state_: Any, control: Any, **kwargs: Any) -> None:
        run = _run(self.record)
        self.run_id = run.header["run_id"] if run is not None else ""
        if self.found is not None:
            state.put_back(self.trainer, *self.found)
            self.carried.restore(self.found[1]["carried"])

    def on_epoch_begin(self, args: Any, state_: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        if state_.global_step >= state_.max_steps:
            raise NothingLeft
        found, self.found = self.found, None
        sampler = state.sampler_of(train_dataloader)
        if sampler is not None:
            if found is not None and "sampler" in found[0]:
                sampler.generator.set_state(found[0]["sampler"])
            self.epoch_began = sampler.generator.get_state()

    def on_save(self, args: Any, state_: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state_.global_step}"
        if args.save_only_model:
            return
        try:
            tensors, values = state.snapshot(self.trainer)
        except HostError as reason:
            warnings.warn(str(reason), stacklevel=2)
            args.save_total_limit = self.keep  # what we do not commit we do not delete either
            return
        if (order := self._order(train_dataloader, state_)) is not None:
            tensors["sampler"] = order
        values["carried"] = self.carried.state()
        file = self._file(folder)
        file.parent.mkdir(exist_ok=True, parents=True)
        write_bytes(file.with_suffix(".safetensors"), save(tensors))
        write_document(file.with_suffix(".json"), values)
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.accelerator.is_main_process:
            checkpoints.commit(folder, run_id=self.run_id)
            if not self.carried.failed:
                self.sound = folder
            # weights that an error may have broken do not push out the last ones before it
            spared = [kept for kept in (state_.best_model_checkpoint, self.sound) if kept]
            checkpoints.prune(args.output_dir, self.keep or 0, spared)

    def _order(self, train_dataloader: Any, state_: Any) -> Tensor | None:
        """The generator's state from which the sampler begins the epoch in which the run goes on."""
        sampler = state.sampler_of(train_dataloader)
        if sampler is None:
            return None
        between_epochs = float(state_.epoch or 0).is_integer()
        return sampler.generator.get_state() if between_epochs or self.epoch_began is None else self.epoch_began

    @property
    def _rank(self) -> int:
        return self.trainer.accelerator.process_index

    def _file(self, folder: Path) -> Path:
        return folder / "forkpoint" / f"rank-{self._rank}"


def last_complete(folder: str | Path, *, run: str | Path | None = None) -> str | None:
    """The newest complete checkpoint in a trainer's ``output_dir``, for ``resume_from_checkpoint``; None for a new run.

    One that was cut off or damaged since is named in a warning and passed over; with ``run``, the folder of a record,
    also one of another run and one past the record's end.
    """
    chosen, passed_over = checkpoints.newest(folder, None if run is None else _run(Path(run)))
    for error in passed_over:
        warnings.warn(str(error), stacklevel=2)
    return None if chosen is None else str(chosen)


def _run(record: Path) -> Run | None:
    return open_run(record) if (record / HEADER).exists() else None
