"""How methods join into one, ``a+b``: which objective stays, what the settings are then called, and what is refused.

Of names alone, so that it can be told where torch is not installed; ``methods._compose`` goes by the same rules.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Part(Protocol):
    """As much of a method as joining looks at."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def stand_in(self) -> tuple[str, ...]:
        """settings of an objective that only fills the place"""
        ...

    @property
    def reduction(self) -> str | None: ...


Some = TypeVar("Some", bound=Part)


def leading(parts: Sequence[Some]) -> Some:
    """The part whose objective stays: the one that has its own, of stand-ins alone the first.

    Raises ValueError, in one line, for fewer than two parts, one part twice, two objectives or two averages.
    """
    name = "+".join(part.name for part in parts)
    if len(parts) < 2 or len({part.name for part in parts}) < len(parts):
        raise ValueError(f"{name}: name two different methods or more, such as hicra+kl_cov")
    own = [part for part in parts if not part.stand_in]
    if len(own) > 1:
        told = " and ".join(part.name for part in own)
        raise ValueError(f"{name}: {told} each bring an objective and a step has one loss; drop one of them")
    if len({part.reduction for part in parts if part.reduction is not None}) > 1:
        raise ValueError(f"{name}: one averages over tokens and another over answers; a step has one average")
    return own[0] if own else parts[0]


def places(parts: Sequence[Part]) -> dict[str, tuple[int, str]]:
    """What each setting of the whole is called -> (number of the part, its name there).

    A setting that two parts have is called ``PART.SETTING``. Settings of an objective that gave way are gone.

    >>> from forkpoint.signatures import declared
    >>> list(places([declared("methods", "kl_cov"), declared("methods", "clip_cov")]))
    Traceback (most recent call last):
    ValueError: kl_cov+clip_cov: kl_cov and clip_cov each bring an objective and a step has one loss; drop one of them
    """
    leads = leading(parts)
    kept = [
        (i, inner)
        for i, part in enumerate(parts)
        for inner in part.settings
        if part is leads or inner not in part.stand_in
    ]
    times = Counter(inner for _, inner in kept)
    return {inner if times[inner] == 1 else f"{parts[i].name}.{inner}": (i, inner) for i, inner in kept}


def refuse_overwriting(name: str, rules: Sequence[tuple[str, str]]) -> None:
    """ValueError where a part's advantage from rewards would undo another's; ``rules``: (part, what its rule does).

    >>> refuse_overwriting("hicra+rloo", [("hicra", "shaped"), ("rloo", "taken")])
    Traceback (most recent call last):
    ValueError: hicra+rloo: rloo takes the advantage from rewards and hicra has set one before; name rloo first
    """
    seeing = [(part, does) for part, does in rules if does != "kept"]
    for (first, before), (later, does) in pairwise(seeing):
        if does == "taken" and first != later:
            both = (first, "taken") in seeing
            remedy = "drop one (of hicra, baseline=host does)" if both else f"name {later} first"
            done = "chosen by another" if before == "read" else "set one"
            raise ValueError(
                f"{name}: {later} takes the advantage from rewards and {first} has {done} before; {remedy}"
            )
