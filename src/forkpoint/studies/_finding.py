"""What a study found: numbers over seeds with their spread, never a single run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple


class Spread(NamedTuple):
    """Mean, standard deviation over seeds (n - 1), smallest and largest."""

    mean: float
    deviation: float
    smallest: float
    largest: float
    seeds: int

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """
        >>> Spread.of([1.0, 2.0, 3.0])
        Spread(mean=2.0, deviation=1.0, smallest=1.0, largest=3.0, seeds=3)
        """
        deviation = stdev(values) if len(values) > 1 else float("nan")
        return Spread(mean(values), deviation, min(values), max(values), len(values))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.deviation:.3f} [{self.smallest:.3f}, {self.largest:.3f}]"


class Interval(NamedTuple):
    """A number with the interval that its data leave it."""

    value: float
    low: float
    high: float

    @staticmethod
    def exact(value: int) -> "Interval":
        """A count, which has no interval."""
        return Interval(float(value), float(value), float(value))

    def __str__(self) -> str:
        """
        >>> str(Interval(-0.9312, -0.94, -0.92)), str(Interval.exact(40))
        ('-0.931 [-0.940, -0.920]', '40')
        """
        if self.low == self.high:
            return f"{self.value:g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Finding:
    """``table[arm][quantity]``, over seeds or with the interval of its data, with the command that makes it again."""

    claim: str
    command: str
    table: Mapping[str, Mapping[str, Spread | Interval]]

    def markdown(self) -> str:
        """Mean ± deviation [smallest, largest] or value [low, high]; a row per quantity, a column per arm."""
        arms = list(self.table)
        rows = dict.fromkeys(name for arm in arms for name in self.table[arm])
        lines = [f"| | {' | '.join(arms)} |", f"|---|{'---|' * len(arms)}"]
        for name in rows:
            cells = [str(self.table[arm][name]) if name in self.table[arm] else "" for arm in arms]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)
