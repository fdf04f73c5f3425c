"""The completions of each row's prompt, as tables: what group baselines and shares are made of.

A host that fills ``group_reward`` and ``group_logp`` makes a rule row-local: each row brings its whole group along.
Where it does not, the tables are built from a step held whole, a group's members in the order of their identity.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from forkpoint.batch import Plan, StepBatch


def group_rewards(step: StepBatch) -> Float[Tensor, "B G"]:
    """Rewards of all completions of the row's prompt, the row's own among them; nan where there is none.

    Raises ValueError where neither ``group_reward`` nor ``reward`` and ``group`` are filled, and where the step is
    spread over ranks without ``group_reward``: a group may lie across them.

    >>> step = StepBatch(torch.zeros(3, 1), torch.zeros(3, 1), torch.ones(3, 1, dtype=torch.bool), torch.zeros(3),
    ...                  reward=torch.tensor([1.0, 5.0, 0.0]), group=torch.tensor([7, 8, 7]))
    >>> group_rewards(step)
    tensor([[1., 0.],
            [5., nan],
            [1., 0.]])
    """
    if step.group_reward is not None:
        return step.group_reward.detach()
    _check_whole(step, "group_reward", "reward", "group")
    assert step.reward is not None
    return _table(step, step.reward.detach())


def rewards_and_logps(step: StepBatch) -> tuple[Float[Tensor, "B G"], Float[Tensor, "B G"]]:
    """Rewards, and mean log-prob per token under the policy that sampled, in nats, of the same completions.

    They stand in one order. Where ``group_logp`` is not filled it is the mean of ``logp_old`` over the row's mask, nan
    for a row without tokens, and both tables are built from the step: ``group_reward`` has an order of its own.
    Raises ValueError as ``group_rewards`` does, and where ``group_reward`` tells of completions that the step lacks.
    """
    if step.group_logp is not None:
        return group_rewards(step), step.group_logp.detach()
    _check_whole(step, "group_logp", "reward", "group")
    assert step.reward is not None
    rewards = _table(step, step.reward.detach())
    if step.group_reward is not None:
        _check_complete(step.group_reward, rewards)
    return rewards, _table(step, own_logp(step))


def own_logp(step: StepBatch) -> Float[Tensor, " B"]:
    """Mean log-prob per token of each row under the policy that sampled; nan for a row without tokens."""
    # where, not *: a masked token may hold nan or inf
    return torch.where(step.mask, step.logp_old.detach(), 0.0).sum(1) / step.mask.sum(1)


def own_rewards(step: StepBatch) -> Float[Tensor, " B"]:
    """The row's own reward; ValueError where the host left it out."""
    if step.reward is None:
        raise ValueError("StepBatch.reward is not filled and this rule reads it: fill it with each row's reward")
    return step.reward.detach()


def binary(reward: Float[Tensor, "*N"], rule: str) -> Bool[Tensor, "*N"]:
    """True where the reward is 1. ValueError where one is neither 0 nor 1; nan, no verdict, is let through as False."""
    told = reward[~reward.isnan()]
    if not ((told == 0) | (told == 1)).all():
        odd = told[(told != 0) & (told != 1)][0]
        raise ValueError(f"{rule} is defined for rewards of 0 and 1 and met {float(odd):g}; give it a reward of 0 or 1")
    return reward == 1


def with_advantage(step: StepBatch, plan: Plan, advantage: Float[Tensor, " B"], rule: str) -> Plan:
    """The plan with each row's new advantage on all its tokens; 0 where it is nan: no verdict teaches nothing.

    Raises ValueError where an earlier rule has already changed the advantage, which this one would undo unseen.
    """
    if not torch.equal(plan.advantage.nan_to_num(), Plan.neutral(step).advantage.nan_to_num()):
        raise ValueError(
            f"{rule} takes the advantage from rewards and an earlier rule has set one: put it first, or drop one"
        )
    fresh = advantage.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf).to(plan.advantage.dtype)
    return replace(plan, advantage=fresh.unsqueeze(1).expand_as(plan.advantage).clone())


def _check_whole(step: StepBatch, table: str, *needed: str) -> None:
    for name in needed:
        if not step.has(name):
            raise ValueError(
                f"StepBatch.{table} is not filled, nor is {name} to build it from: fill {table}, or hold the step whole"
            )
    if step.ranks is not None:
        raise ValueError(f"StepBatch.{table} is not filled and the step is spread over ranks: fill it on each of them")


def _check_complete(given: Float[Tensor, "B G"], found: Float[Tensor, "B g"]) -> None:
    """ValueError unless both tables hold the same rewards, in any order; one that is nan may be left out."""
    width = max(given.shape[1], found.shape[1])
    wide, narrow = (torch.nn.functional.pad(t, (0, width - t.shape[1]), value=torch.nan) for t in (given, found))
    wide, narrow = (t.to(given.dtype).nan_to_num(nan=-1e9).sort(1).values for t in (wide, narrow))
    if not torch.equal(wide, narrow):
        raise ValueError("StepBatch.group_logp is not filled and the step holds a part of some group: fill group_logp")


def _table(step: StepBatch, values: Float[Tensor, " B"]) -> Float[Tensor, "B G"]:
    """Each row's group as columns, by identity; nan where its group has fewer members than the largest."""
    assert step.group is not None
    number, place, size = _places(step.group, step.identity)
    groups = values.new_full((int(number.max()) + 1 if len(number) else 0, size), torch.nan)
    groups[number, place] = values
    return groups[number]


def _places(group: Int[Tensor, " B"], identity: Int[Tensor, " B"]) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], int]:
    """Each row's group, numbered from 0, its place among the group's members, and the size of the largest group."""
    order = identity.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    begins = torch.ones_like(order, dtype=torch.bool)
    begins[1:] = group[order][1:] != group[order][:-1]
    number, place = torch.empty_like(order), torch.empty_like(order)
    number[order] = begins.cumsum(0) - 1
    place[order] = torch.arange(len(order), device=order.device) - begins.nonzero()[:, 0][number[order]]
    return number, place, int(place.max()) + 1 if len(place) else 0
