"""Guards of a trainer's step that need more than one ``StepBatch``: the method, its plan, or the reward functions.

    guard/changed_share     tokens whose gradient weight the method changed / the step's tokens
    guard/empty_selection   1 where a credit rule of the method changed no token of the whole step
    guard/sign_flips        tokens that the plan pushes against the host's advantage / tokens with an advantage
    guard/draws_short       tokens that the plan's choices asked for and did not find / tokens asked for
    guard/controller_held   readings in a row that a controller could not use
    guard/reward_outside    rewards outside the range that their function declares / its rewards
    guard/reward_misfit     rewards that the method is not defined for / the rollout's rewards

They read what passes by: no model is run, nothing is drawn.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint import alarms
from forkpoint.batch import Definition, Mean, Mergeable, Plan, StepBatch
from forkpoint.credit._select import Draw
from forkpoint.methods import Method
from forkpoint.methods._changed import changed
from forkpoint.metrics.dead_groups import dead_groups
from forkpoint.metrics.duplicate_groups import duplicate_groups

OnAlarm = Literal["log", "checkpoint", "stop"]
_WHOLE = "whole completions"
DEFINITIONS = (
    Definition(
        "guard/changed_share",
        "tokens where d loss / d log p is not that of plain policy gradient, -r A, or d loss / d entropy is not 0; "
        "0: the method did nothing",
        "over the step's tokens",
        "share",
    ),
    Definition(
        "guard/empty_selection",
        "1 where some credit rule of the method marked no token and changed no weight and no advantage, else 0; not "
        "asked are a rule that a controller may leave off, and a baseline beside other rules, which may be the host's",
        "over the whole step, all micro-batches and processes",
        "1 or 0",
    ),
    Definition(
        "guard/sign_flips",
        "tokens whose planned advantage times weight has the opposite sign of their row's advantage; for methods with "
        "credit rules. Some mean to: it shows how often",
        "over the step's tokens whose row has an advantage that is not 0",
        "share",
    ),
    Definition(
        "guard/draws_short",
        "tokens that the plan's draws and rankings asked for and did not find, because too few qualified; 1: none did. "
        "Absent where the plan chose by no quota",
        "over the tokens asked for",
        "share",
    ),
    Definition(
        "guard/controller_held",
        "readings in a row that some controller could not use, because they were missing, not finite or not warmed up, "
        "so that its settings stayed; for methods with controllers",
        "up to the step before",
        "steps",
    ),
    Definition(
        "guard/reward_misfit",
        "rewards that are none of those the method is defined for; for methods that name them",
        "over the rollout's rewards",
        "share",
        token_set=_WHOLE,
    ),
    Definition(
        "guard/reward_outside",
        "rewards outside the range that their function declares as reward_range; absent where none does",
        "over the rollout's rewards from such functions",
        "share",
        token_set=_WHOLE,
    ),
    *(
        Definition(
            f"{alarms.PREFIX}{name}",
            f"1 at the step where it is raised: {condition}",
            condition.sentence,
            "1 or absent",
        )
        for name, condition in alarms.CONDITIONS.items()
    ),
)


class Empty(NamedTuple):
    """Whether some rule changed nothing, over parts: 1 or 0. An empty part does not make an empty whole.

    >>> Empty(Counter({0: 5, 1: 0})).value, (Empty(Counter({0: 5, 1: 0})) + Empty(Counter({0: 0, 1: 3}))).value
    (1.0, 0.0)
    """

    tokens: Counter[int]
    """that each rule changed, by its place"""

    def __add__(self, other: "Empty") -> "Empty":  # type: ignore[override]  # a tuple's + would concatenate
        # a Counter's own + drops what is 0
        return Empty(
            Counter({place: self.tokens[place] + other.tokens[place] for place in {*self.tokens, *other.tokens}})
        )

    @property
    def value(self) -> float:
        return float(0 in self.tokens.values())


def plan_guards(step: StepBatch, plan: Plan, method: Method) -> dict[str, Mergeable]:
    """What the method did to some rows of the step, under the same rows of its plan."""
    found: dict[str, Mergeable] = {
        "guard/changed_share": Mean(float(changed(method, step, plan).sum()), float(step.mask.sum()))
    }
    if method.credit:
        found["guard/sign_flips"] = sign_flips(step, plan)
    return found


def touch_guards(seen: Counter[int], rests: Sequence[bool]) -> dict[str, Mergeable]:
    """Whether a rule that should act changed no token; nothing where none is to. ``rests``: per rule, may it not act?

    >>> touch_guards(Counter({0: 0}), [False])["guard/empty_selection"].value, touch_guards(Counter({0: 0}), [True])
    (1.0, {})
    """
    asked = Counter({place: tokens for place, tokens in seen.items() if not rests[place]})
    return {"guard/empty_selection": Empty(asked)} if asked else {}


def sign_flips(step: StepBatch, plan: Plan) -> Mean:
    """Tokens that the plan pushes the other way than their row's advantage / tokens whose row has one that is not 0.

    >>> step = StepBatch(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> plan = Plan.neutral(step)
    >>> sign_flips(step, Plan(torch.tensor([[-0.5, 3.0]]), plan.weight, plan.mark))
    Mean(sum=1.0, count=2.0)
    """
    own = step.advantage.unsqueeze(1).sign()
    flipped = step.mask & ((plan.advantage.sign() * plan.weight.sign() * own) < 0)
    return Mean(float(flipped.sum()), float((step.mask & (own != 0)).sum()))


def draw_guards(seen: Sequence[Draw]) -> dict[str, Mergeable]:
    """How far short the choices of a plan fell; nothing where there was no choice.

    >>> draw_guards([Draw(asked=3, found=1), Draw(asked=1, found=1)])
    {'guard/draws_short': Mean(sum=2, count=4)}
    """
    asked = sum(draw.asked for draw in seen)
    return {"guard/draws_short": Mean(asked - sum(draw.found for draw in seen), asked)} if asked else {}


def controller_guards(control: Any) -> dict[str, float]:
    """How long a controller has not moved for want of readings; nothing without controllers. ``control``: TRL's."""
    return (
        {"guard/controller_held": float(control.loop.held)} if control is not None and control.loop.controllers else {}
    )


def misfit_guards(method: Method | None, rewards: Float[Tensor, " B"]) -> dict[str, Mergeable]:
    """The share of rewards that are none of those the method is defined for, where it names them; nan is no reward.

    >>> from forkpoint.objectives.clip import clip
    >>> misfit_guards(Method((), clip(), rewards=(0.0, 1.0)), torch.tensor([0.0, 0.5, 1.0, torch.nan]))
    {'guard/reward_misfit': Mean(sum=1.0, count=3.0)}
    """
    if method is None or not method.rewards:
        return {}
    given = rewards[~rewards.isnan()]
    # a float32 reward of 0.1 is not the float64 0.1
    fits = torch.isin(given, given.new_tensor(method.rewards))
    return {"guard/reward_misfit": Mean(float((~fits).sum()), float(len(given)))}


def group_guards(batch: dict[str, Any], mask: Tensor) -> dict[str, Mergeable]:
    """Dead and duplicate groups of a rollout, before it is shuffled and cut; ``batch`` has identities and rewards."""
    unknown = torch.zeros(mask.shape, device=mask.device)  # these metrics read no log-prob, and there is none yet
    step = StepBatch(
        logp=unknown,
        logp_old=unknown,
        mask=mask.bool(),
        advantage=batch["advantages"],
        token_ids=batch["completion_ids"],
        reward=batch["forkpoint_reward"],
        group=batch["forkpoint_group"],
    )
    return {"guard/dead_group_share": dead_groups(step), "guard/duplicate_group_share": duplicate_groups(step)}


def range_guards(functions: Sequence[Any], rewards: Float[Tensor, "B F"]) -> dict[str, Mergeable]:
    """The share of rewards outside their function's ``reward_range = (low, high)``; nothing where none declares one.

    A function declares it as an attribute: ``my_reward.reward_range = (0.0, 1.0)``. nan is no reward.
    """
    outside = scored = 0
    declared = [getattr(function, "reward_range", None) for function in functions]
    for bounds, values in zip(declared, rewards.T, strict=True):
        if bounds is not None:
            low, high = bounds
            outside += int(((values < low) | (values > high)).sum())
            scored += int((~values.isnan()).sum())
    return {"guard/reward_outside": Mean(outside, scored)} if any(bounds is not None for bounds in declared) else {}


def sound(found: Sequence[alarms.Alarm], control: Any, *, on_alarm: OnAlarm, aloud: bool) -> dict[str, float]:
    """Say what was raised, ask the trainer to save and to stop as ``on_alarm`` says, and return the columns of it.

    ``control`` is transformers' TrainerControl. Without a logging configuration a line goes to stderr.
    """
    if found and on_alarm != "log":
        # after an error the weights may be broken, and saving them could push out the last good ones
        control.should_save = control.should_save or all(alarm.severity != "error" for alarm in found)
        control.should_training_stop = control.should_training_stop or on_alarm == "stop"
    for alarm in found if aloud else ():
        logging.getLogger("forkpoint").warning("forkpoint: %s: %s", alarm.severity, alarm)
    return {f"{alarms.PREFIX}{alarm.name}": 1.0 for alarm in found}
