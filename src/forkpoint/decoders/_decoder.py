"""What goes into a decoder, what comes out, and what it cost: every token counted, kept or not."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, ParamSpec

from forkpoint import catalog
from forkpoint.decoders._next import Entropy
from forkpoint.decoders._policy import Policy
from forkpoint.settings import like_defaults, refuse_unknown

P = ParamSpec("P")
Finish = Literal["end", "limit", "stopped", "pruned"]


def whole(text: str) -> str | None:
    """The whole completion as its answer; None where it is blank."""
    return text.strip() or None


@dataclass(frozen=True)
class Ask:
    """One problem."""

    id: str
    """draws are keyed by it, so that a problem is decoded alike in any company"""
    prompt: tuple[int, ...]
    answer: Callable[[str], str | None] = whole
    """the answer in a completion: what votes count"""

    @property
    def key(self) -> int:
        return int.from_bytes(sha256(self.id.encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Trace:
    """One completion, or as much of it as there was."""

    ids: tuple[int, ...]
    text: str
    answer: str | None
    finish: Finish
    """``end`` token, ``limit`` of tokens, ``stopped`` by the decoder's rule, or ``pruned`` from a tree"""
    thought: tuple[bool, ...] = ()
    """whether each of ``ids`` is thinking: a marker that ends it is, one that begins it is not; empty where none is"""
    entropy: tuple[float, ...] = ()
    """of every token, in nats, by the name that the decoder reads"""
    logp: float = 0.0
    """sum of the raw log-probs of its tokens; a token that the decoder put counts with what the model gave it"""
    forced: int = 0
    """tokens that the decoder put"""
    shared: int = 0
    """first tokens that another trace has paid for"""
    reread: int = 0
    """positions read again to get here: a prompt or a prefix whose cache was gone"""
    kept: bool = True
    """whether its decoder let it vote: not where it was pruned, barred, gone on from, or given no weight beside others

    One without an answer has no vote, and is kept all the same.
    """
    weight: float = 1.0
    """of its vote"""
    confidence: tuple[float, ...] = ()
    """in every token, as the decoder defines it; empty where it has no use for one"""
    logps: tuple[float, ...] = ()
    """the raw log-prob of every token that ``entropy`` is given of"""
    source: int = 0
    """number, from 1, of the abstraction or tree that it goes on from; 0 for none"""

    @property
    def generated(self) -> int:
        return len(self.ids) - self.shared

    @property
    def thinking(self) -> int:
        """Its tokens of thinking: how many, not where; they need not be the first.

        >>> Trace((1, 2, 3, 4), "", None, "end", (False, False, True, True)).thinking
        2
        """
        return sum(self.thought)


class Spent(NamedTuple):
    """Tokens that one problem took."""

    prompt: int
    """read once"""
    reread: int = 0
    kept: int = 0
    """generated, in traces that were let vote"""
    discarded: int = 0
    """generated, in others"""

    @property
    def total(self) -> int:
        return sum(self)

    @classmethod
    def of(cls, prompt: int, traces: Sequence[Trace]) -> "Spent":
        """
        >>> one = Trace((1, 2, 3), "", None, "end")
        >>> Spent.of(4, [one, replace(one, shared=2, reread=6, kept=False)]).total           # 4 + 6 + 3 + 1
        14
        """
        kept = sum(trace.generated for trace in traces if trace.kept)
        discarded = sum(trace.generated for trace in traces if not trace.kept)
        return cls(prompt, sum(trace.reread for trace in traces), kept, discarded)


@dataclass(frozen=True)
class Decoded:
    """One problem's answer."""

    text: str
    """the completion to score: one that gives ``answer``"""
    answer: str | None
    traces: tuple[Trace, ...]
    spent: Spent
    votes: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """answer -> weight of the traces that gave it"""
    note: str = ""
    """what a reader of the answer should know: a rule that could not act, and why"""


class Decode(NamedTuple):
    """What every decoder is called with."""

    policy: Policy
    asks: Sequence[Ask]
    budget: int
    """most tokens per problem, its prompt included: what is read, generated and thrown away"""
    seed: int = 0
    rows: int = 256
    """rows side by side"""

    def room(self, ask: Ask, taken: int = 0) -> int:
        """Most tokens that a row may still take: what the model's context leaves after the prompt and ``taken`` more.

        Raises ValueError where it leaves none.
        """
        context = self.policy.context
        if context is None:
            return self.budget
        if (left := context - len(ask.prompt) - taken) < 1:
            has = f"its prompt of {len(ask.prompt)} tokens and {taken} more fill the model's {context}"
            raise ValueError(f"problem {ask.id!r}: {has}; shorten it")
        return left

    def longest(self, ask: Ask, max_tokens: int) -> int:
        """Most tokens of a completion: ``max_tokens``, or what the model's context leaves where that is less.

        What is planned with, so that no token is put by that no completion could take.
        """
        return min(max_tokens, self.room(ask))


@dataclass(frozen=True, eq=False, repr=False)
class Decoder:
    """A way to spend tokens at inference. ``decode`` never spends more than the budget on a problem."""

    run: Callable[[Decode], list[Decoded]]
    reads: Entropy | None
    """which entropy it decides by, and records; None where it decides by none"""
    thinks: bool = False
    """it acts on thinking alone, whose markers must be known; where an answer has none its ``note`` says so"""
    machine: Any = None
    """of one completion's row; None where a completion is not of one"""
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def decode(
        self, policy: Policy, asks: Sequence[Ask], budget: int, *, seed: int = 0, rows: int = 256
    ) -> list[Decoded]:
        """One ``Decoded`` per ask, in order; the same for the same seed, whatever else is decoded beside it.

        Up to rounding, which other rows in a batch change by some last bits: a decoder that takes tokens differs only
        where two are tied to these bits; one that feeds mixtures reads its own rounding back, and may drift apart.

        At most ``rows`` completions stand side by side; a prompt that more of them share is read again uncounted.

        A completion ends where the model's context does, whatever the budget. Raises ValueError where budget or context
        leave no token after a prompt, where thinking markers are needed and not known, and for logits that are no
        numbers.
        """
        if self.thinks:
            policy.needs_markers(self.name)
        for ask in asks:
            if budget <= len(ask.prompt):
                room = f"its prompt has {len(ask.prompt)}; give a larger budget"
                raise ValueError(f"{self.name}: a budget of {budget} tokens leaves none for problem {ask.id!r}: {room}")
        asked = Decode(policy, asks, budget, seed, rows)
        for ask in asks:
            asked.room(ask)
        found = self.run(asked)
        return [replace(one, note=one.note or _idle(one.traces)) for one in found] if self.thinks else found

    def __repr__(self) -> str:
        return f"{self.name or 'Decoder'}({', '.join(f'{k}={v!r}' for k, v in self.settings.items())})"


def _idle(traces: Sequence[Trace]) -> str:
    """That a decoder of thinking had none to act on; empty where it had some.

    >>> one = Trace((1, 2), "", None, "end")
    >>> _idle([one]), _idle([one, replace(one, thought=(False, True))])
    ('no completion has a token of thinking, so all are plain completions', '')
    """
    if any(trace.thinking for trace in traces):
        return ""
    return "no completion has a token of thinking, so all are plain completions"


def decoder(factory: Callable[P, Decoder]) -> Callable[P, Decoder]:
    """Makes a function of settings a decoder: checks them against its defaults and fills in name and settings."""
    signature = inspect.signature(factory)

    @wraps(factory)
    def named(*args: P.args, **kwargs: P.kwargs) -> Decoder:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            bound.arguments.update(settings := like_defaults(signature, bound.arguments))
            made = factory(*bound.args, **bound.kwargs)
        except ValueError as error:
            raise ValueError(f"{factory.__name__}: {error}") from None
        return replace(made, name=factory.__name__, settings=MappingProxyType(settings))

    return named


def build(name: str, **settings: Any) -> Decoder:
    """The decoder ``name`` of the folder, or of ``"module:function"``, with ``settings`` over the paper's.

    ``NAME+parallel_vote`` votes over the completions of another, with the settings of both. ValueError for a name or a
    setting that does not exist; it names the nearest.

    >>> build("greedy+parallel_vote", max_tokens=64)
    greedy+parallel_vote(entropy='raw', max_tokens=64, max_paths=512)
    """
    inner, plus, outer = name.partition("+")
    if plus:
        if outer != "parallel_vote":
            raise ValueError(f"{name}: parallel_vote alone takes another decoder's completions: NAME+parallel_vote")
        return _voting(inner, settings)
    factory = catalog.get("decoders", name)
    refuse_unknown(name, settings, inspect.signature(factory).parameters)
    return factory(**settings)


def _voting(inner: str, settings: Mapping[str, Any]) -> Decoder:
    from forkpoint.decoders.parallel_vote import votes_of  # it is made of what stands here

    counts = like_defaults(inspect.signature(votes_of), {k: v for k, v in settings.items() if k.startswith("max_")})
    known = {*build(inner).settings, "max_tokens", "max_paths"}
    refuse_unknown(f"{inner}+parallel_vote", settings, known)
    own = {k: v for k, v in settings.items() if k in build(inner).settings}
    return votes_of(build(inner, **own), **{k: v for k, v in counts.items() if k not in own})
