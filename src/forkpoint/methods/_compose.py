"""Several methods as one: all their credit rules in order, one objective, all their controllers."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any

from forkpoint.controllers import Controller, Knobs, Reading, State
from forkpoint.credit import does_to_advantage
from forkpoint.methods._method import Method
from forkpoint.parts import leading, places, refuse_overwriting
from forkpoint.settings import refuse_unknown


def compose(*parts: Method, **settings: Any) -> Method:
    """The parts as one method, its name theirs joined by ``+``, with ``settings`` over the parts' own.

    Credit rules run in the order of the parts. The objective is that of the one part that has its own: methods whose
    idea is a credit rule bring the clipped surrogate only as a stand-in, which gives way, and its settings with it; of
    stand-ins alone the first stays. A setting that two parts have is called ``PART.SETTING``.

    So what removes tokens (forking_tokens) goes before what chooses among them (clip_cov, kl_cov).

    Raises ValueError for fewer than two parts, two objectives, two reductions, two controllers of one setting, or a
    part that takes the advantage from rewards after one that has gone by another.

    >>> from forkpoint.methods import build
    >>> build("grpo+kl_cov")
    Traceback (most recent call last):
    ValueError: grpo+kl_cov: grpo and kl_cov each bring an objective and a step has one loss; drop one of them
    """
    name = "+".join(part.name for part in parts)
    if any(part.factory is None for part in parts):
        raise ValueError(f"{name}: a method put together by hand joins no other; define it with @method")
    called = places(parts)
    refuse_unknown(name, settings, called)
    parts = _turned(parts, {called[setting]: value for setting, value in settings.items()})
    refuse_overwriting(name, [(part.name, does_to_advantage(rule)) for part in parts for rule in part.credit])
    leads = leading(parts)
    made = Method(
        credit=tuple(chain(*(part.credit for part in parts))),
        objective=leads.objective,
        reads=_union(part.reads for part in parts),
        # a part that does nothing is one that was asked for in vain
        needs_off_policy=any(part.needs_off_policy for part in parts),
        intervenes=any(part.intervenes for part in parts),
        sets=_union(part.sets for part in parts),
        controllers=tuple(
            _renamed(controller, {inner: name for name, (i, inner) in called.items() if parts[i] is part})
            for part in parts
            for controller in part.controllers
        ),
        reduction=next((part.reduction for part in parts if part.reduction), None),
        rewards=next((part.rewards for part in parts if part.rewards), ()),
        stand_in=leads.stand_in,
        least_group=max(part.least_group for part in parts),
        rank_stride=next((part.rank_stride for part in parts if "rank" in part.reads), 40),
        shift=next((part.shift for part in parts if part.shift), None),
        parts=parts,
        name=name,
        settings=MappingProxyType({name: parts[i].settings[inner] for name, (i, inner) in called.items()}),
    )
    return replace(made, factory=partial(compose, *parts))


def _turned(parts: tuple[Method, ...], changes: Mapping[tuple[int, str], Any]) -> tuple[Method, ...]:
    own: list[dict[str, Any]] = [{} for _ in parts]
    for (i, inner), value in changes.items():
        own[i][inner] = value
    return tuple(part.with_knobs(**knobs) for part, knobs in zip(parts, own, strict=True))


def _renamed(controller: Controller, names: Mapping[str, str]) -> Controller:
    """The controller of a part, turning the settings under what the whole calls them."""

    def law(state: State, reading: Reading) -> tuple[State, Knobs]:
        state, knobs = controller.law(state, reading)
        return state, {names[knob]: value for knob, value in knobs.items()}

    bounds = {names[knob]: bound for knob, bound in controller.bounds.items()}
    return replace(controller, knobs=tuple(names[knob] for knob in controller.knobs), law=law, bounds=bounds)


def _union(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*names)))
