"""Several methods as one: all their credit rules in order, one objective, all their controllers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any

from forkpoint.batch import Reduction
from forkpoint.controllers import Controller, Knobs, Reading, State
from forkpoint.methods._method import Method


def compose(*parts: Method) -> Method:
    """The parts as one method, its name theirs joined by ``+``.

    Credit rules run in the order of the parts. The objective is that of the one part that has its own: methods whose
    idea is a credit rule bring the clipped surrogate only as a stand-in, which gives way, and its settings with it; of
    stand-ins alone the first stays. A setting that two parts have is called ``PART.SETTING``.

    Raises ValueError for fewer than two parts, two objectives, two reductions, or two controllers of one setting.

    >>> from forkpoint.methods import build
    >>> build("grpo+kl_cov")
    Traceback (most recent call last):
    ValueError: grpo+kl_cov: grpo and kl_cov each bring an objective and a step has one loss; drop one of them
    """
    name = "+".join(part.name for part in parts)
    if len(parts) < 2 or any(part.factory is None for part in parts) or len({p.name for p in parts}) < len(parts):
        raise ValueError(f"{name}: name two different methods or more, such as hicra+kl_cov")
    own = [part for part in parts if not part.stand_in]
    if len(own) > 1:
        told = " and ".join(part.name for part in own)
        raise ValueError(f"{name}: {told} each bring an objective and a step has one loss; drop one of them")
    leads = own[0] if own else parts[0]
    means: set[Reduction] = {part.reduction for part in parts if part.reduction is not None}
    if len(means) > 1:
        raise ValueError(f"{name}: one averages over tokens and another over answers; a step has one average")
    places = _places(parts, leads)
    made = Method(
        credit=tuple(chain(*(part.credit for part in parts))),
        objective=leads.objective,
        reads=_union(part.reads for part in parts),
        # what acts on-policy in one part makes the whole act
        needs_off_policy=all(part.needs_off_policy for part in parts),
        intervenes=any(part.intervenes for part in parts),
        sets=_union(part.sets for part in parts),
        controllers=tuple(
            _renamed(controller, {inner: called for called, (i, inner) in places.items() if parts[i] is part})
            for part in parts
            for controller in part.controllers
        ),
        reduction=next(iter(means), None),
        rewards=next((part.rewards for part in parts if part.rewards), ()),
        stand_in=() if own else leads.stand_in,
        name=name,
        settings=MappingProxyType({called: parts[i].settings[inner] for called, (i, inner) in places.items()}),
    )
    return replace(made, factory=partial(_again, parts, places))


def _places(parts: tuple[Method, ...], leads: Method) -> dict[str, tuple[int, str]]:
    """What each setting of the whole is called -> (number of the part, its name there)."""
    kept = [
        (i, inner)
        for i, part in enumerate(parts)
        for inner in part.settings
        if part is leads or inner not in part.stand_in
    ]
    times = Counter(inner for _, inner in kept)
    return {inner if times[inner] == 1 else f"{parts[i].name}.{inner}": (i, inner) for i, inner in kept}


def _again(parts: tuple[Method, ...], places: Mapping[str, tuple[int, str]], **settings: Any) -> Method:
    changes: list[dict[str, Any]] = [{} for _ in parts]
    for called, value in settings.items():
        i, inner = places[called]
        changes[i][inner] = value
    return compose(*(part.with_knobs(**change) for part, change in zip(parts, changes, strict=True)))


def _renamed(controller: Controller, names: Mapping[str, str]) -> Controller:
    """The controller of a part, turning the settings under what the whole calls them."""

    def law(state: State, reading: Reading) -> tuple[State, Knobs]:
        state, knobs = controller.law(state, reading)
        return state, {names[knob]: value for knob, value in knobs.items()}

    return replace(controller, knobs=tuple(names[knob] for knob in controller.knobs), law=law)


def _union(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*names)))
