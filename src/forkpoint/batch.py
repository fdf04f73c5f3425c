"""The data types that metrics, roles, credit rules and objectives read.

Axes   B sequences (rows), T completion tokens, V vocabulary.
Units  log-probabilities and entropies are in nats.
Time   goes left to right: ``_old`` is the policy that sampled, no suffix is the policy in training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from forkpoint.labels import Label as Label


@dataclass(frozen=True)
class StepBatch:
    """One optimizer step, whole: what metrics, roles and credit rules may look at. Carries no gradient.

    Optional fields are None where the host cannot fill them; ``reads`` of a metric or method names what it needs.
    """

    logp: Float[Tensor, "B T"]
    """log-prob of each sampled token under the policy in training"""
    logp_old: Float[Tensor, "B T"]
    """the same under the policy that sampled it"""
    mask: Bool[Tensor, "B T"]
    """True where the policy chose the token: not prompt, not padding, not tool output"""
    advantage: Float[Tensor, " B"]
    entropy: Float[Tensor, "B T"] | None = None
    """full-softmax entropy at each position under the policy in training, at the sampling temperature"""
    token_ids: Int[Tensor, "B T"] | None = None
    label: Int[Tensor, "B T"] | None = None
    """a ``Label`` per token"""
    reward: Float[Tensor, " B"] | None = None
    correct: Bool[Tensor, " B"] | None = None
    """the verifier's verdict; rows without a verdict are left out before this is built"""
    group: Int[Tensor, " B"] | None = None
    """rows of one prompt share a number"""
    group_reward: Float[Tensor, "B G"] | None = None
    """rewards of all completions of the row's prompt, the row's own among them; nan where a completion has none"""
    group_logp: Float[Tensor, "B G"] | None = None
    """mean log-prob per token of the same completions under the policy that sampled, in the same order"""
    row_id: Int[Tensor, " B"] | None = None
    """identity of a row within the run's generation; draws and ties go by it, never by the order of rows"""
    tool: Bool[Tensor, "B T"] | None = None
    """True where a tool wrote the token; ``mask`` is False there"""
    entropy_reference: Float[Tensor, "B T"] | None = None
    """full-softmax entropy at each position under a frozen reference policy"""
    rank: Float[Tensor, "B 6"] | None = None
    """of the row's hidden states: effective rank, its velocity and acceleration over prefixes, then the same three of
    independent Gaussian states of the same shape; nan for what the row is too short for"""
    shifted: Bool[Tensor, " B"] | None = None
    """True where the row was sampled at another temperature than the rest, on purpose"""
    ranks: "Ranks | None" = None
    """how to reach the step's other rows where each rank holds its own; None where the step is held whole"""

    def has(self, *names: str) -> bool:
        """Whether every named field is filled."""
        return all(getattr(self, name) is not None for name in names)

    def only(self, tokens: Bool[Tensor, "B T"]) -> "StepBatch":
        """The same step with the mask narrowed to ``tokens``."""
        return replace(self, mask=self.mask & tokens)

    def rows(self, index: Int[Tensor, " b"] | slice) -> "StepBatch":
        """A part of the step, by rows: a micro-batch or a rank's share. ``ranks`` stays as it is."""
        filled = [name for name in _tensor_fields() if self.has(name)]
        return replace(self, **{name: getattr(self, name)[index] for name in filled})

    @staticmethod
    def join(parts: "Sequence[StepBatch]") -> "StepBatch":
        """The parts one after the other; the undoing of ``rows``. A field that a part lacks is None.

        ``ranks`` is that of the first part.

        >>> part = StepBatch(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
        >>> StepBatch.join([part, part]).logp.shape
        torch.Size([2, 2])
        """
        names = [name for name in _tensor_fields() if all(part.has(name) for part in parts)]
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return StepBatch(**joined, ranks=parts[0].ranks)

    @property
    def identity(self) -> Int[Tensor, " B"]:
        """``row_id``, or the row's position where the host gave none.

        Raises ValueError where ranks would number their rows alike.
        """
        if self.row_id is not None:
            return self.row_id
        if self.ranks is not None:
            raise ValueError("StepBatch.row_id is not filled and the step is spread over ranks: number its rows")
        return torch.arange(self.logp.shape[0], device=self.logp.device)


def _tensor_fields() -> list[str]:
    return [f.name for f in fields(StepBatch) if f.name != "ranks"]


@runtime_checkable
class Ranks(Protocol):
    """The processes that hold a step together, each its own rows. Every rank makes the same calls in the same order.

    What is exchanged is small: counts, bounds and moments, never one value per token.
    """

    index: int
    """this rank's place, from 0"""

    def sum(self, values: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """The sums over all ranks, exact in int64."""
        ...

    def max(self, values: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """The largest over all ranks, exact in int64."""
        ...

    def gather(self, values: Float64[Tensor, " n"]) -> Float64[Tensor, "num_ranks n"]:
        """Every rank's values, in the order of ranks, with their bits."""
        ...


class OneRank:
    """A step held whole, for code that is written over ranks."""

    index = 0

    def sum(self, values: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        return values

    def max(self, values: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        return values

    def gather(self, values: Float64[Tensor, " n"]) -> Float64[Tensor, "num_ranks n"]:
        return values.unsqueeze(0)


ALONE = OneRank()


@dataclass(frozen=True)
class Rows:
    """Some rows of a step as the loss sees them; ``logp`` and ``entropy`` carry the gradient."""

    logp: Float[Tensor, "B T"]
    logp_old: Float[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    entropy: Float[Tensor, "B T"] | None = None


@dataclass(frozen=True)
class Plan:
    """What the whole step decided for each token, before any gradient."""

    advantage: Float[Tensor, "B T"]
    weight: Float[Tensor, "B T"]
    """multiplies the token's loss; 0 removes the token but keeps it in the denominator"""
    mark: Bool[Tensor, "B T"]
    """tokens that an objective treats specially (KL-Cov penalises them)"""

    @staticmethod
    def neutral(step: StepBatch) -> "Plan":
        """Every token gets its row's advantage, weight one, no mark."""
        spread = step.advantage.unsqueeze(1).expand_as(step.logp).clone()
        return Plan(spread, torch.ones_like(step.logp), torch.zeros_like(step.mask))

    def rows(self, index: Int[Tensor, " b"] | slice) -> "Plan":
        return Plan(self.advantage[index], self.weight[index], self.mark[index])


Reduction = Literal["token_mean", "sequence_mean"]
"""every token of a step weighs the same, or every answer"""


class Total(NamedTuple):
    """What one optimizer step trains on, over all its micro-batches and ranks: the denominators of a loss."""

    tokens: float
    sequences: float
    reduction: Reduction = "token_mean"

    @staticmethod
    def of(mask: Bool[Tensor, "B T"], reduction: Reduction = "token_mean") -> "Total":
        """The totals of a step held whole in ``mask``; a row without tokens is no sequence."""
        return Total(float(mask.sum()), float(mask.any(dim=-1).sum()), reduction)

    def reduce(self, loss: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        """These rows' share of the step's loss; the shares of all micro-batches add up to the whole.

        token_mean     every token weighs the same, so long answers weigh more
        sequence_mean  every answer weighs the same, so tokens of long answers weigh less

        >>> loss, mask = torch.tensor([[1.0, 3.0], [8.0, 9.0]]), torch.tensor([[True, True], [True, False]])
        >>> Total.of(mask).reduce(loss, mask)                       # (1 + 3 + 8) / 3
        tensor(4.)
        >>> Total.of(mask, "sequence_mean").reduce(loss, mask)      # ((1 + 3) / 2 + 8) / 2
        tensor(5.)
        """
        # where, not *: a masked token may hold nan or inf
        kept = torch.where(mask, loss, 0.0)
        if self.reduction == "token_mean":
            return kept.sum() / max(self.tokens, 1.0)
        return (kept.sum(-1) / mask.sum(-1).clamp(min=1.0)).sum() / max(self.sequences, 1.0)


Reduce = Callable[[Float[Tensor, "B T"], Bool[Tensor, "B T"]], Float[Tensor, ""]]
"""Per-token losses and the mask of their rows -> a scalar; a host trainer passes its own, ``Total.reduce`` is ours"""


@runtime_checkable
class Mergeable(Protocol):
    """A reading that adds up over micro-batches and ranks; a mean of means would be wrong."""

    @property
    def value(self) -> float: ...

    def __add__(self, other: Any, /) -> Any: ...


class Mean(NamedTuple):
    """A mean as (sum, count). nan where nothing was counted, so that "no tokens" never reads as zero.

    >>> (Mean(3.0, 2) + Mean(1.0, 2)).value
    1.0
    """

    sum: float
    count: float  # type: ignore[assignment]  # hides tuple.count, which nobody asks a mean for

    def __add__(self, other: "Mean") -> "Mean":  # type: ignore[override]  # a tuple's + would concatenate
        return Mean(self.sum + other.sum, self.count + other.count)

    @property
    def value(self) -> float:
        return self.sum / self.count if self.count else float("nan")


@dataclass(frozen=True)
class Definition:
    """What a number means: stored with every run and shown beside every chart."""

    key: str
    """column in the record, such as ``entropy/full``"""
    estimator: str
    reduction: str
    unit: str
    reads: tuple[str, ...] = ()
    """optional fields of ``StepBatch`` it needs"""
    temperature: str = "as sampled"
    token_set: str = "completion tokens the policy chose"
    by_role: bool = False
    """also recorded for each role, as ``key/role``"""
