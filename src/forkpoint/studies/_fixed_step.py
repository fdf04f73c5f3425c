"""Steps held fixed, every optional field filled, on which all methods of the folder are asked the same thing."""

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from forkpoint import catalog
from forkpoint.batch import StepBatch
from forkpoint.controllers import Controller, Loop
from forkpoint.methods import Method, build
from forkpoint.metrics import measure

Settings = Mapping[str, float | str]
SMALL = 1e-4
"""length of the measured step in the space of parameters: small enough that what is left over is second order"""
DEMO_STEP = 0.05
"""about the length of an AdamW step of the demo's learning rate"""


class Change(NamedTuple):
    """The change of mean entropy under one step, in nats."""

    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """|measured - predicted| / |predicted|; 0 where both are 0."""
        if self.predicted == 0:
            return 0.0 if self.measured == 0 else float("inf")
        return abs(self.measured - self.predicted) / abs(self.predicted)


def methods_at_work(scaled: Mapping[str, Settings]) -> dict[str, Method]:
    """Every method of the folder, with ``scaled`` settings over its defaults.

    A setting that a controller turns begins where it does nothing; there the method's own ``LIVELY`` value stands, so
    that what the control does can be seen.
    """
    found = {}
    for name in catalog.names("methods"):
        plain = build(name, **scaled.get(name, {}))
        lively = getattr(import_module(f"forkpoint.methods.{name}"), "LIVELY", {})
        turned = {knob for controller in plain.controllers for knob in controller.knobs}
        found[name] = plain.with_knobs(**{knob: lively[knob] for knob in turned if knob in lively})
    return found


def followers(method: Method) -> list[Controller]:
    """The controllers of settings that follow the batch's effective ranks, and so have no value of their own."""
    return [one for one in method.controllers if one.reads and all(key.startswith("rank/") for key in one.reads)]


def own_settings(method: Method) -> dict[str, Any]:
    """The settings that stand whatever the batch is; ``followed`` has the others."""
    following = {knob for controller in followers(method) for knob in controller.knobs}
    return {name: value for name, value in method.settings.items() if name not in following}


def followed(method: Method, step: StepBatch) -> dict[str, float]:
    """Setting -> its value on this batch, of each that follows the batch's effective ranks.

    Raises ValueError where the batch has no value for it to follow: the method would not act there.
    """
    following = followers(method)
    if not following:
        return {}
    loop = Loop(following)
    values = {key: float(reading.value) for key, reading in measure(step, only=loop.reads).items()}
    for number in range(1, 21):  # a running mean may want a number of readings first
        loop.take(values | {"step": float(number)})
    if unread := [key for key, value in values.items() if not math.isfinite(value)]:
        raise ValueError(f"{method.name}: no row of the batch has {unread[0]}; choose a stride that its answers hold")
    return {knob: float(value) for knob, value in loop.knobs.items()}


def centered(method: Method, step: StepBatch) -> Method:
    """The method with settings that follow the batch's effective ranks at the values of this batch."""
    return method.with_knobs(**followed(method, step))


def filled_step(
    logp: Float[Tensor, "B T"],
    logp_old: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    reward: Float[Tensor, " B"],
    *,
    size: int,
    **tokens: Tensor,
) -> StepBatch:
    """A step whose rows come in groups of ``size``, with the advantage and every field of the group filled.

    advantage = (reward - mean) / (deviation + 1e-4) within a group, as TRL has it; one row of each group of the second
    half counts as sampled at another temperature.
    """
    by_group = reward.view(-1, size)
    centered = by_group - by_group.mean(1, keepdim=True)
    advantage = (centered / (by_group.std(1, keepdim=True) + 1e-4)).view(-1)
    group = torch.arange(len(reward)) // size
    mean_logp = torch.where(mask, logp_old, 0.0).sum(1) / mask.sum(1)
    shifted = (group >= len(by_group) // 2) & (torch.arange(len(reward)) % size == 0)
    return StepBatch(
        logp=logp,
        logp_old=logp_old,
        mask=mask,
        advantage=advantage.to(logp.dtype),
        reward=reward,
        correct=reward > 0.5,
        group=group,
        group_reward=by_group[group],
        group_logp=mean_logp.view(-1, size)[group],
        row_id=torch.arange(len(reward)),
        tool=torch.zeros_like(mask),
        shifted=shifted,
        **tokens,  # type: ignore[arg-type]  # of a keyword's name it is known only that it is a tensor
    )


def token_entropies(logits: Float[Tensor, "*N V"]) -> Float[Tensor, "*N"]:
    """H = -sum p ln p, in nats, with its gradient; finite logits only."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def gradient(method: Method, step: StepBatch, leaves: list[Any], key: tuple[int, int] = (0, 0)) -> list[Tensor]:
    """d loss / d leaves of the whole step; zero where the loss does not feel a leaf."""
    loss = centered(method, step).step_loss(step, key=key)
    if not loss.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(leaf) if part is None else part for leaf, part in zip(leaves, found, strict=True)]


def of_length(direction: Tensor, length: float) -> Tensor:
    """Scaled to ``length``; zero stays zero."""
    norm = direction.norm()
    return direction * (length / norm) if norm > 0 else direction
