"""What a TRL trainer holds between two optimizer steps and its own checkpoints leave out.

    the rollout in use (``_buffered_inputs``) and the place in it (``_step``)
    the sampler's generator, which orders every epoch after the first
    log averages that have not been written yet, and the row identities given so far

Tensors and plain values come apart, so that the one goes into a safetensors file and the other into JSON: no pickle.
"""

from typing import Any

import torch
from torch import Tensor

from forkpoint.trainers._trl_host import HostError

MUST_AGREE = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
"""settings that give the place in a rollout its meaning"""
COUNTERS = ("_step", "_globalstep_last_logged", "forkpoint_rows_seen")


def snapshot(trainer: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, values) of this process. Raises HostError for a rollout that holds neither (images)."""
    values: dict[str, Any] = {
        "processes": trainer.accelerator.num_processes,
        "settings": {name: getattr(trainer.args, name) for name in MUST_AGREE if hasattr(trainer.args, name)},
        "counters": {name: getattr(trainer, name) for name in COUNTERS if hasattr(trainer, name)},
        "buffer": [],
    }
    if hasattr(trainer, "_metrics"):
        values["metrics"] = {mode: {key: list(seen) for key, seen in m.items()} for mode, m in trainer._metrics.items()}
    tensors: dict[str, Tensor] = {}
    if isinstance(getattr(trainer, "_tr_loss", None), Tensor):
        tensors["tr_loss"] = trainer._tr_loss.detach()
    for i, part in enumerate(getattr(trainer, "_buffered_inputs", None) or []):
        values["buffer"].append({name: _described(name, value) for name, value in part.items()})
        tensors |= {f"buffer.{i}.{name}": value for name, value in part.items() if isinstance(value, Tensor)}
    # a copy each: safetensors refuses tensors that share memory, as the pieces of a split rollout do
    return {name: value.cpu().clone().contiguous() for name, value in tensors.items()}, values


def check(trainer: Any, values: dict[str, Any]) -> None:
    """HostError where this run would cut its steps in another way than the one that saved."""
    now = {"processes": trainer.accelerator.num_processes}
    now |= {name: getattr(trainer.args, name, None) for name in values["settings"]}
    for name, saved in ({"processes": values["processes"]} | values["settings"]).items():
        if now[name] != saved:
            raise HostError(f"{name} is {now[name]} and the checkpoint was saved with {saved}; resume with {saved}")


def put_back(trainer: Any, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Undo ``snapshot``, at the beginning of a training that resumes."""
    for name, value in values["counters"].items():
        setattr(trainer, name, value)
    for mode, metrics in values.get("metrics", {}).items():
        trainer._metrics[mode].clear()  # of a training that broke off within a step
        # float: JSON holds nan as a word
        trainer._metrics[mode].update({key: [float(value) for value in seen] for key, seen in metrics.items()})
    device = trainer.accelerator.device
    if "tr_loss" in tensors:
        trainer._tr_loss = tensors["tr_loss"].to(device)
    if values["buffer"]:
        trainer._buffered_inputs = [
            {name: tensors[f"buffer.{i}.{name}"].to(device) if kept == "tensor" else kept["value"]
             for name, kept in part.items()}
            for i, part in enumerate(values["buffer"])
        ]  # fmt: skip


def sampler_of(dataloader: Any) -> Any:
    """The sampler with a generator of its own below a data loader and its wrappers; None where there is none."""
    below = _inner(dataloader)
    while below is not None and not isinstance(getattr(below, "generator", None), torch.Generator):
        below = _inner(below)
    return below


def _inner(loader: Any) -> Any:
    # is None, and no "or": the sampler of a stream has no length to be true by
    batches = getattr(loader, "batch_sampler", None)
    return getattr(loader, "sampler", None) if batches is None else batches


def _described(name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        return "tensor"
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise HostError(f"a rollout holds {name} as {type(value).__name__}, which is not saved; its resume is not exact")
