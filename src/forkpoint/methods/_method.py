"""What a method is: it plans on the whole step, without gradient, then acts on rows, with it."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from forkpoint import catalog
from forkpoint.batch import Plan, Reduce, Reduction, Rows, StepBatch, Total
from forkpoint.controllers import Controller
from forkpoint.credit import At, CreditRule, Key, is_sharded, plans_at, run_rules
from forkpoint.objectives import Objective
from forkpoint.settings import like_defaults, refuse_unknown

P = ParamSpec("P")


class Shift(NamedTuple):
    """Whole groups of a rollout that the host samples apart and marks in ``StepBatch.shifted``."""

    share: float
    """of the rollout's groups"""
    temperature: float


@dataclass(frozen=True, eq=False, repr=False)
class Method:
    """Credit rules, one objective, controllers of its settings, and what a host trainer has to know about them.

    >>> from forkpoint.methods.dapo import dapo
    >>> dapo()
    dapo(clip_low=0.2, clip_high=0.28)
    >>> dapo().with_knobs(clip_high=0.4).settings["clip_high"]
    0.4
    """

    credit: tuple[CreditRule, ...]
    """run in this order on the whole step"""
    objective: Objective
    reads: tuple[str, ...] = ()
    """optional ``StepBatch`` fields it needs; ``entropy`` is then also needed in ``Rows``"""
    needs_off_policy: bool = False
    """it changes nothing while every ratio is 1, that is with one update per rollout"""
    intervenes: bool = False
    """acts on entropy on purpose, so that R = -a e^H + b is not claimed under it"""
    sets: tuple[str, ...] = ()
    """settings of the host trainer that it decides; a host that sets them otherwise must be refused"""
    controllers: tuple[Controller, ...] = ()
    """feedback that turns some of its settings from step to step; each setting by one controller at most"""
    reduction: Reduction | None = None
    """how its paper averages token losses; None leaves that to the host, and to a token mean where there is none"""
    rewards: tuple[float, ...] = ()
    """the only rewards it is defined for, such as (0.0, 1.0); empty where any will do"""
    least_group: int = 1
    """the fewest completions per prompt of which it can teach anything"""
    stand_in: tuple[str, ...] = ()
    """settings of an objective that only fills the place: in a composition another method's objective takes it"""
    shift: Shift | None = None
    """which part of a rollout is to be sampled at another temperature; None for none"""
    rank_stride: int = 40
    """tokens between the prefixes whose effective rank it reads, where it reads ``StepBatch.rank``"""
    parts: "tuple[Method, ...]" = ()
    """of a composition, the methods that it joins, in order"""
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """every setting with its value, defaults included"""
    factory: "Callable[..., Method] | None" = None
    """what made it, and makes it again with other knobs; ``@method`` fills it in, with name and settings"""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.reads) - {field.name for field in fields(StepBatch)}):
            known = ", ".join(field.name for field in fields(StepBatch))
            raise ValueError(f"{self.name or 'Method'}: reads {unknown[0]!r}, which no step has; there is {known}")

    @property
    def sharded(self) -> bool:
        """Whether ``plan`` takes a step spread over ranks; a host gathers the step's rows where it does not."""
        return all(is_sharded(rule) for rule in self.credit)

    @property
    def rests(self) -> tuple[bool, ...]:
        """Per credit rule, whether a controller of its method may rightly leave it off."""
        if self.parts:
            return tuple(chain(*(part.rests for part in self.parts)))
        return (self._left_to_controllers,) * len(self.credit)

    @property
    def must_act(self) -> bool:
        """Whether a run in which it changes no token is one in which it, or a part of it, was asked for in vain."""
        if self.parts:
            return any(part.must_act for part in self.parts)
        return (self.intervenes or bool(self.credit)) and not self._left_to_controllers

    @property
    def _left_to_controllers(self) -> bool:
        return any(controller.rests for controller in self.controllers)

    @property
    def plans_at(self) -> At:
        """Whose log-probs ``plan`` reads: "rollout" never looks at ``StepBatch.logp``, so a host need not fill it."""
        return "rollout" if all(plans_at(rule) == "rollout" for rule in self.credit) else "update"

    @torch.no_grad()
    def plan(self, step: StepBatch, knobs: Mapping[str, Any] | None = None, key: Key = (0, 0)) -> Plan:
        """What the whole step decides for each token. ``key`` is (run seed, optimizer step).

        Of a step spread over ranks, each gets the plan of its own rows; ValueError where a rule cannot do that.
        """
        if knobs:
            return self.with_knobs(**knobs).plan(step, key=key)
        if step.ranks is not None and not self.sharded:
            raise ValueError(f"{self!r} plans steps held whole: gather the rows of all ranks first")
        return run_rules(self.credit, step, Plan.neutral(step), key)

    def loss(
        self, rows: Rows, plan: Plan, total: Total | Reduce, knobs: Mapping[str, Any] | None = None
    ) -> Float[Tensor, ""]:
        """The loss of some rows, under the same rows of the step's plan.

        With a ``Total`` the losses of micro-batches add up to the step's. Any other reduction takes the per-token
        losses and the mask; masked losses are 0, so that a host may multiply by its mask.
        """
        if knobs:
            return self.with_knobs(**knobs).loss(rows, plan, total)
        reduce = total.reduce if isinstance(total, Total) else total
        return reduce(self.objective(rows, plan), rows.mask)

    def step_loss(
        self,
        step: StepBatch,
        knobs: Mapping[str, Any] | None = None,
        key: Key = (0, 0),
        total: Total | Reduce | None = None,
    ) -> Float[Tensor, ""]:
        """Plan and loss of a step held whole, with no trainer; by default the paper's mean, or one over all tokens.

        The gradient flows into ``step.logp`` and ``step.entropy`` where they require it.
        """
        if total is None and step.ranks is not None:
            raise ValueError("step_loss: the step is spread over ranks; pass the Total of all of them")
        rows = Rows(step.logp, step.logp_old, step.mask, step.entropy)
        return self.loss(rows, self.plan(step, knobs, key), total or self.total(step.mask), knobs)

    def total(self, mask: Bool[Tensor, "B T"]) -> Total:
        """The denominators of a step held whole, for the reduction of the paper."""
        return Total.of(mask, self.reduction or "token_mean")

    def with_knobs(self, **changes: Any) -> "Method":
        """The same method with some settings changed; ValueError names the nearest setting if there is no such one."""
        if not changes:
            return self
        if self.factory is None:
            raise ValueError("this method was put together by hand and has no settings; define it with @method")
        refuse_unknown(self.name, changes, self.settings)
        return self.factory(**{**self.settings, **changes})

    def __repr__(self) -> str:
        return f"{self.name or 'Method'}({', '.join(f'{k}={v!r}' for k, v in self.settings.items())})"


def method(factory: Callable[P, Method]) -> Callable[P, Method]:
    """Makes a function of settings a method: binds its signature and fills in name and settings.

    A setting whose default is a number takes finite numbers only, one that is a ``Literal`` only its words. The
    ValueErrors of the parts (a share above 1, an empty band) come out in one line that begins with the method's name.
    """
    signature = inspect.signature(factory)

    def made(*args: P.args, **kwargs: P.kwargs) -> Method:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            settings = like_defaults(signature, bound.arguments)
            bound.arguments.update(settings)
            found = factory(*bound.args, **bound.kwargs)
        except ValueError as error:
            raise ValueError(f"{factory.__name__}: {error}") from None
        return replace(found, name=factory.__name__, settings=MappingProxyType(settings), factory=made)

    @wraps(factory)
    def named(*args: P.args, **kwargs: P.kwargs) -> Method:
        found = made(*args, **kwargs)
        _check_knobs(found)
        return found

    return named


def build(name: str, **settings: Any) -> Method:
    """The method ``name`` of the folder, or of ``"module:function"``, with ``settings`` over the paper's.

    Names joined by ``+`` make a composition: the credit rules of all, one objective, the controllers of all.
    ValueError for a name or a setting that does not exist; it names the nearest.

    >>> build("kl_cov", coef=0.5)
    kl_cov(share=0.002, coef=0.5, at='update')
    """
    if "+" in name:
        from forkpoint.methods._compose import compose  # it is made of what stands here

        return compose(*(build(part.strip()) for part in name.split("+")), **settings)
    factory = catalog.get("methods", name)
    refuse_unknown(name, settings, inspect.signature(factory).parameters)
    return factory(**settings)


def _check_knobs(method: Method) -> None:
    """Each knob a setting, of one controller, and a method still at both ends of its way.

    Asked once, before a run: within it the other knobs have moved too, and an end that they contradict may never be
    reached. For the same reason the ends of several knobs that one controller turns together are not tried.
    """
    turned = [knob for controller in method.controllers for knob in controller.knobs]
    for knob in turned:
        if knob not in method.settings or turned.count(knob) > 1:
            raise ValueError(
                f"{method.name}: a controller turns {knob!r}, which is no setting of it or another's already"
            )
    for knob, controller in ((one.knobs[0], one) for one in method.controllers if len(one.knobs) == 1):
        ends = controller.bounds.get(knob, ()) if isinstance(method.settings[knob], float) else ()
        for end in filter(math.isfinite, ends):
            try:
                method.with_knobs(**{knob: end})
            except (ValueError, ArithmeticError, TypeError) as error:
                why = str(error).removeprefix(f"{method.name}: ")
                raise ValueError(f"{method.name}: a controller turns {knob} to {end:g}, but {why}") from None
