"""A reading for what concerns whole groups, that merges over micro-batches and ranks even where they split a group."""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor


class Distinct(NamedTuple):
    """The distinct values seen in each group: the share of groups with no two different ones.

    >>> one, other = Distinct({0: frozenset({1.0}), 1: frozenset({0.0})}), Distinct({1: frozenset({1.0})})
    >>> one.value, (one + other).value                          # alone both look uniform; group 1 is not
    (1.0, 0.5)
    """

    seen: Mapping[int, frozenset[Hashable]]

    def __add__(self, other: "Distinct") -> "Distinct":  # type: ignore[override]  # a tuple's + would concatenate
        nothing: frozenset[Hashable] = frozenset()
        groups = [*self.seen, *(group for group in other.seen if group not in self.seen)]
        return Distinct({g: self.seen.get(g, nothing) | other.seen.get(g, nothing) for g in groups})

    @property
    def value(self) -> float:
        """nan without a group; a group without a value has no two different ones."""
        return sum(len(values) <= 1 for values in self.seen.values()) / len(self.seen) if self.seen else float("nan")


def distinct(group: Int[Tensor, " B"], values_of: Callable[[int], frozenset[Hashable]]) -> Distinct:
    """The values of each row, gathered by its group; ``values_of`` takes the row's place."""
    parts: dict[int, frozenset[Hashable]] = {}
    for row, number in enumerate(map(int, group.cpu())):
        parts[number] = parts.get(number, frozenset()) | values_of(row)
    return Distinct(parts)
