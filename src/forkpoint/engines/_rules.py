"""Stop rules for one request of an engine: what to read of a token's logits, and which ids to put when it is enough.

    cold_stop        ``patience`` entropies in a row below ``threshold``     -> the marker, from this token on
    entropy_stop     mean entropy of ``window`` tokens <= ``threshold``      -> the marker, from this token on
    deep_confidence  mean confidence of the last ``window`` < ``threshold``  -> the end token, after this token

The counting is that of the decoders of these names. A request's settings are flat numbers and texts, as servers take:

    forkpoint_stop  the rule        forkpoint_end  ids to put        forkpoint_begin  ids that begin thinking, or none
    forkpoint_entropy, forkpoint_threshold, forkpoint_patience, forkpoint_window, forkpoint_k

Pitfall  The first two act on thinking alone. Without ``begin`` a request thinks from its first token; with one, not
before it stands in prompt or answer.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, get_args, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from forkpoint.catalog import suggest
from forkpoint.decoders import ColdStop, Entropy, GroupMean, Markers, Next, StepMean, token_confidence
from forkpoint.settings import like_defaults, refuse_unknown

PREFIX = "forkpoint_"
IDS = ("end", "begin")


@runtime_checkable
class StopRule(Protocol):
    """A rule without its numbers: what it reads, where it begins, and one token more."""

    thinking: ClassVar[bool]
    """whether it counts thinking alone"""
    after: ClassVar[bool]
    """whether the token that was read is still the engine's, and the ids follow it"""

    def read(self, here: Next) -> Float[Tensor, " N"]: ...

    def begin(self) -> Any: ...

    def update(self, state: Any, reading: float, counts: bool) -> tuple[Any, bool]:
        """The state after this token, and whether it is enough; the state that was given is left as it is."""
        ...


@dataclass(frozen=True, kw_only=True)
class Cold(ColdStop):
    """Cold Stop, on tokens."""

    threshold: float = 0.01
    patience: int = 256
    entropy: Entropy = "raw"
    thinking: ClassVar[bool] = True
    after: ClassVar[bool] = False

    def read(self, here: Next) -> Float[Tensor, " N"]:
        return here.entropy(self.entropy)

    def begin(self) -> Any:
        return 0

    def update(self, state: Any, reading: float, counts: bool) -> tuple[Any, bool]:
        count = self.count(state, reading, counts)
        return count, counts and bool(self.over(count))


@dataclass(frozen=True, kw_only=True)
class Step(StepMean):
    """Think Just Enough."""

    threshold: float = 0.5
    window: int = 32
    entropy: Entropy = "top20"
    thinking: ClassVar[bool] = True
    after: ClassVar[bool] = False

    def read(self, here: Next) -> Float[Tensor, " N"]:
        return here.entropy(self.entropy)

    def begin(self) -> Any:
        return 0.0, 0

    def update(self, state: Any, reading: float, counts: bool) -> tuple[Any, bool]:
        total, tokens = state
        return self.count(total, tokens, reading, counts), counts and bool(self.over(total, tokens))


@dataclass(frozen=True, kw_only=True)
class Group(GroupMean):
    """DeepConf, online: the end token where its own code puts it too, so a path that is stopped has no answer."""

    threshold: float
    window: int = 2048
    k: int = 20
    thinking: ClassVar[bool] = False
    after: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.window < 1 or self.k < 1:
            raise ValueError(f"window={self.window}, k={self.k}: both are counts, at least 1")

    def read(self, here: Next) -> Float[Tensor, " N"]:
        return token_confidence(here.raw_logp, self.k)

    def begin(self) -> Any:
        return self.recent(), 0

    def update(self, state: Any, reading: float, counts: bool) -> tuple[Any, bool]:
        recent, at = self.add(state[0], state[1], reading), state[1]
        return (recent, at + 1), bool(self.below(recent, at, self.threshold))


RULES: dict[str, type[StopRule]] = {"cold_stop": Cold, "entropy_stop": Step, "deep_confidence": Group}


@dataclass(frozen=True)
class Stop:
    """A rule, the ids that it puts, and the ids that begin what it counts."""

    rule: StopRule
    end: tuple[int, ...]
    begin: tuple[int, ...] = ()

    @property
    def markers(self) -> Markers | None:
        return Markers(self.end, begin=self.begin) if self.rule.thinking else None


def stop_of(extra: Mapping[str, Any] | None) -> Stop | None:
    """What a request asks for in its extra arguments; None where it asks for nothing. ValueError in one line.

    >>> stop_of({"forkpoint_stop": "entropy_stop", "forkpoint_window": 8, "forkpoint_end": [7, 9]})
    Stop(rule=Step(threshold=0.5, window=8, entropy='top20'), end=(7, 9), begin=())
    """
    given = {key[len(PREFIX) :]: value for key, value in (extra or {}).items() if key.startswith(PREFIX)}
    if not given:
        return None
    name = given.pop("stop", None)
    if name not in RULES:
        raise ValueError(f"{PREFIX}stop={name!r}: {suggest(str(name), list(RULES))}")
    end, begin = (_ids(key, given.pop(key, ())) for key in IDS)
    if not end:
        raise ValueError(f"{PREFIX}end: name the ids that {name} puts, a marker's or an end token's")
    signature = inspect.signature(RULES[name])
    refuse_unknown(name, given, signature.parameters)
    if name == "deep_confidence" and "threshold" not in given:
        raise ValueError(f"{PREFIX}threshold: deep_confidence takes it from warm-up paths; confidence_bar computes it")
    if (entropy := given.get("entropy")) is not None and entropy not in get_args(Entropy):
        raise ValueError(f"{PREFIX}entropy={entropy!r}: choose {' or '.join(map(repr, get_args(Entropy)))}")
    return Stop(RULES[name](**like_defaults(signature, given)), end, begin)


def _ids(key: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str) and all(type(i) is int and i >= 0 for i in value):
        return tuple(value)
    raise ValueError(f"{PREFIX}{key}={value!r:.60}: a list of token ids, each at least 0")
