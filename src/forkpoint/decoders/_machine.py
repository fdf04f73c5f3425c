"""One completion at a time per row: a machine says what each row takes next, and the loop here feeds, ends and records.

A machine is pure: ``step(state, look) -> (state, action)``, with a state of tensors whose first axis is the rows, so
that the loop can drop rows without telling it. Markers of several tokens, and the queue of tokens that a machine puts,
are the loop's business.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from forkpoint.decoders._decoder import Ask, Decode, Decoded, Decoder, Finish, Trace
from forkpoint.decoders._lanes import Lanes
from forkpoint.decoders._next import Entropy, Next, Warp
from forkpoint.decoders._policy import Markers, Policy
from forkpoint.decoders._thinking import thinks_after, thought, turns
from forkpoint.decoders._vote import voted
from forkpoint.draws import token_hash, uniform

State = dict[str, Tensor]
Mixture = tuple[Int[Tensor, "N K"], Float[Tensor, "N K"]]
"""ids and their weights, which sum to 1"""
Put = tuple[Bool[Tensor, " N"], tuple[int, ...]]
"""rows, and the ids that they take one per step from this one on, whatever they would have chosen"""
DROP_BELOW = 0.85
"""share of a batch's rows that are still going, below which the others are dropped: dropping copies the cache"""


@dataclass
class Look:
    """What a machine sees of N rows at one step."""

    next: Next
    at: int
    """tokens since the prompt"""
    thinking: Bool[Tensor, " N"]
    free: Bool[Tensor, " N"]
    """rows that choose now; in the others a marker is being put, and what the machine says of them is not used"""
    identity: np.ndarray
    """(N,) one number per row, for draws"""
    seed: int
    markers: Markers | None
    row: State = field(default_factory=dict)
    """of each ``Row`` its ``sample``, its ``limit`` and its ``threshold``"""

    def ends_thinking(self, token: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Whether a token may be the last of the marker that ends thinking."""
        return token == self.markers.end[-1] if self.markers else torch.zeros_like(token, dtype=torch.bool)

    def luck(self) -> Float[Tensor, " N"]:
        """A uniform draw per row, a function of seed, row and place alone."""
        found = uniform(self.identity, np.full(len(self.identity), self.at), (self.seed, 0))
        return torch.as_tensor(found, device=self.next.logits.device)

    def luck_of(self, ids: Int[Tensor, "N K"]) -> Float[Tensor, "N K"]:
        """A uniform draw per row and token id, independent of which other ids are asked for."""
        places = np.full(len(self.identity), self.at)
        rows = token_hash(self.identity, places, (self.seed, 1)).view(np.int64)
        many = np.broadcast_to(rows[:, None], tuple(ids.shape))
        return torch.as_tensor(uniform(many, ids.cpu().numpy(), (self.seed, 2)), device=ids.device)


class Action(NamedTuple):
    """What N rows take next."""

    token: Int[Tensor, " N"]
    mixture: Mixture | None = None
    """ids and weights of the next input, for all rows; those that take their token alone are one-hot"""
    put: tuple[Put, ...] = ()
    stop: "Bool[Tensor, ' N'] | None" = None
    """rows that are done after this token"""
    confidence: "Float[Tensor, ' N'] | None" = None
    """how sure the machine holds the model to be of this token, recorded; always given or never"""


@runtime_checkable
class Machine(Protocol):
    """A decoder of single completions."""

    @property
    def warp(self) -> Warp: ...

    @property
    def reads(self) -> Entropy: ...

    def init(self, num: int, policy: Policy) -> State: ...

    def step(self, state: State, look: Look) -> tuple[State, Action]: ...


class Row(NamedTuple):
    """One completion to make."""

    ask: Ask
    sample: int = 0
    limit: int = 1
    """most tokens"""
    reread: bool = False
    """whether its prompt was read before"""
    prefix: tuple[int, ...] = ()
    """tokens of another trace that it goes on from; they are read, not chosen"""
    threshold: float = -math.inf
    """what its machine holds it to"""


def single(machine: Machine, *, thinks: bool = False) -> Decoder:
    """The decoder that makes one completion per problem, as long as the budget allows."""

    def run(asked: Decode) -> list[Decoded]:
        rows = [Row(ask, limit=asked.budget - len(ask.prompt)) for ask in asked.asks]
        traces = complete(asked, machine, rows)
        return [voted(row.ask, [trace]) for row, trace in zip(rows, traces, strict=True)]

    return Decoder(run, machine.reads, thinks, machine)


def complete(asked: Decode, machine: Machine, rows: Sequence[Row]) -> list[Trace]:
    """A trace for each row, in order; at most ``asked.rows`` of them side by side, those that share a prompt together.

    More than ``asked.rows`` that share a prompt read it once more per part, which no count has: what a problem spends
    does not depend on how much stands side by side.

    A row ends where the model's context does. Raises ValueError where prompt and prefix leave it no token. What an
    engine decodes, it completes.
    """
    rows = [row._replace(limit=min(row.limit, asked.room(row.ask, len(row.prefix)))) for row in rows]
    if asked.policy.engine is not None:
        return asked.policy.engine(asked, machine, rows)
    parts = _parts(rows, asked.rows)
    return list(chain.from_iterable(_Batch(asked, machine, part).traces() for part in parts))


def _parts(rows: Sequence[Row], most: int) -> Iterator[list[Row]]:
    """Rows in order, at most so many at a time; those that share prompt and prefix are parted only where they must be.

    >>> rows = [Row(Ask(id, (1,))) for id in "aabbb"]
    >>> [[row.ask.id for row in part] for part in _parts(rows, 4)], [len(part) for part in _parts(rows, 2)]
    ([['a', 'a'], ['b', 'b', 'b']], [2, 2, 1])
    """
    part: list[Row] = []
    for _, group in groupby(rows, lambda row: (row.ask.id, row.ask.prompt, row.prefix)):
        together = list(group)
        if part and len(part) + len(together) > most:
            yield part
            part = []
        part += together
        while len(part) > most:
            yield part[:most]
            part = part[most:]
    if part:
        yield part


class _Batch:
    """Rows that start together. Tensors have one entry per row that is still in the batch."""

    def __init__(self, asked: Decode, machine: Machine, rows: Sequence[Row]) -> None:
        self._asked, self._machine, self._rows = asked, machine, rows
        self._markers, self._turns = asked.policy.markers, turns(asked.policy.markers)
        prompts = [(*row.ask.prompt, *row.prefix) for row in rows]
        self._lanes = Lanes(asked.policy, prompts, [1] * len(rows))
        self._log = _Log(len(rows))
        device = self._lanes.logits.device
        identity = token_hash(
            np.array([row.ask.key for row in rows]), np.array([row.sample for row in rows]), (asked.seed, 0)
        )
        self._identity = identity.view(np.int64)
        starts = [len(row.ask.prompt) for row in rows]
        begun = [thinks_after(self._markers, *pair) for pair in zip(prompts, starts, strict=True)]
        self._state: State = machine.init(len(rows), asked.policy)
        self._loop: State = {
            "row": torch.arange(len(rows), device=device),
            "sample": torch.tensor([row.sample for row in rows], device=device),
            "limit": torch.tensor([row.limit for row in rows], device=device),
            "threshold": torch.tensor([row.threshold for row in rows], device=device, dtype=torch.double),
            "thinking": torch.tensor(begun, device=device),
            "queue": torch.full((len(rows), _longest(self._markers)), -1, device=device),
            "tail": _tails(self._markers, prompts).to(device),
            "live": torch.ones(len(rows), dtype=torch.bool, device=device),
        }
        self._ends = torch.tensor(asked.policy.ends, device=device)

    def traces(self) -> Iterator[Trace]:
        """Decode until every row is done."""
        at = 0
        while bool(self._loop["live"].any()):
            self._advance(at)
            at += 1
        return self._log.traces(self._rows, self._asked.policy)

    def _advance(self, at: int) -> None:
        loop, here = self._loop, Next(self._lanes.logits, self._machine.warp)
        free = loop["queue"][:, 0] < 0
        about = {name: loop[name] for name in ("sample", "limit", "threshold")}
        look = Look(here, at, loop["thinking"], free, self._identity, self._asked.seed, self._markers, about)
        self._state, action = self._machine.step(self._state, look)
        queue = _queued(loop["queue"], action.put, free)
        forced = queue[:, 0] >= 0
        token = torch.where(forced, queue[:, 0], action.token)
        loop["queue"] = torch.cat([queue[:, 1:], torch.full_like(queue[:, :1], -1)], 1)
        logp = here.raw_logp.gather(1, token[:, None])[:, 0]
        sure = () if action.confidence is None else (action.confidence,)
        self._log.add(loop, token, here.entropy(self._machine.reads), logp, forced, loop["thinking"], *sure)
        self._think(token)
        ended = torch.isin(token, self._ends)
        stopped = torch.zeros_like(ended) if action.stop is None else action.stop & ~forced
        full = at + 1 >= loop["limit"]
        self._log.finish(loop, at + 1, {"limit": full, "stopped": stopped, "end": ended})
        loop["live"] = loop["live"] & ~(ended | stopped | full)
        going = loop["live"]
        if not bool(going.any()):
            return
        mixture = action.mixture and one_hot_unless(~forced, token, *action.mixture)
        if float(going.double().mean()) < DROP_BELOW:
            kept = going.nonzero()[:, 0]
            self._lanes.pick(kept)
            self._state = {key: value[kept] for key, value in self._state.items()}
            self._loop = {key: value[kept] for key, value in loop.items()}
            self._identity = self._identity[kept.cpu().numpy()]
            token = token[kept]
            mixture = mixture and (mixture[0][kept], mixture[1][kept])
        self._lanes.feed(token, mixture)

    def _think(self, token: Int[Tensor, " N"]) -> None:
        if self._markers is None:
            return
        loop = self._loop
        loop["tail"] = torch.cat([loop["tail"][:, 1:], token[:, None]], 1)
        for marker, begins in self._turns:
            loop["thinking"] = torch.where(_ends_with(loop["tail"], marker), begins, loop["thinking"])


class _Log:
    """What every row took, by row and place."""

    def __init__(self, num: int) -> None:
        self._num = num
        self._columns: list[tuple[Tensor, ...]] = []
        self._finish: list[Finish] = ["limit"] * num
        self._length = [0] * num

    def add(self, loop: State, *values: Tensor) -> None:
        """Token, entropy, log-prob, whether put, whether thought and, where there is one, confidence of live rows."""
        wide = [value.new_zeros(self._num) for value in values]
        for column, value in zip(wide, values, strict=True):
            column[loop["row"]] = value
        self._columns.append(tuple(wide))

    def finish(self, loop: State, length: int, why: Mapping[Finish, Bool[Tensor, " N"]]) -> None:
        for name, rows in why.items():
            for row in loop["row"][loop["live"] & rows].tolist():
                self._finish[row], self._length[row] = name, length

    def traces(self, rows: Sequence[Row], policy: Policy) -> Iterator[Trace]:
        columns = [torch.stack(column, 1).tolist() for column in zip(*self._columns, strict=True)]
        for i, row in enumerate(rows):
            token, entropy, logp, forced, thinks, *sure = (column[i][: self._length[i]] for column in columns)
            ids = (*row.prefix, *token)
            text = policy.text(ids)
            before = thought(policy.markers, row.ask.prompt, row.prefix) if row.prefix else ()
            yield Trace(
                ids,
                text,
                row.ask.answer(text),
                self._finish[i],
                (*before, *thinks),
                tuple(entropy),
                sum(logp),
                sum(forced),
                shared=len(row.prefix),
                reread=(len(row.ask.prompt) if row.reread else 0) + len(row.prefix),
                confidence=tuple(sure[0]) if sure else (),
                logps=tuple(logp),
            )


def _queued(queue: Int[Tensor, "N Q"], puts: Sequence[Put], free: Bool[Tensor, " N"]) -> Int[Tensor, "N Q"]:
    for rows, marker in puts:
        ids = torch.full_like(queue[0], -1)
        ids[: len(marker)] = torch.tensor(marker, device=queue.device)
        queue = torch.where((rows & free)[:, None], ids, queue)
    return queue


def one_hot_unless(
    soft: Bool[Tensor, " N"], token: Int[Tensor, " N"], ids: Int[Tensor, "N K"], weights: Float[Tensor, "N K"]
) -> Mixture:
    """The mixture where ``soft``; elsewhere the token alone."""
    alone = torch.zeros_like(weights)
    alone[:, 0] = 1.0
    first = torch.cat([token[:, None], ids[:, 1:]], 1)
    return torch.where(soft[:, None], ids, first), torch.where(soft[:, None], weights, alone)


def _longest(markers: Markers | None) -> int:
    return max((len(ids) for ids in _all(markers)), default=1) or 1


def _all(markers: Markers | None) -> list[tuple[int, ...]]:
    return [markers.end, markers.again, markers.begin, *markers.given_up, *markers.given_up.values()] if markers else []


def _tails(markers: Markers | None, prompts: Sequence[tuple[int, ...]]) -> Int[Tensor, "N Q"]:
    width = _longest(markers)
    return torch.tensor([([-1] * width + list(prompt))[-width:] for prompt in prompts])


def _ends_with(tail: Int[Tensor, "N Q"], marker: tuple[int, ...]) -> Bool[Tensor, " N"]:
    return (tail[:, tail.shape[1] - len(marker) :] == torch.tensor(marker, device=tail.device)).all(1)
