"""What probes read: k completions of each problem with their verdicts and log-probs, and the same on disk.

One JSON line per problem, and a last one for the crossed log-probs where there are any, so that a probe can be made
again, or a new one made, without the model. numpy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forkpoint.record import lines

OUTCOMES = ("correct", "wrong", "none")


@dataclass(frozen=True)
class Drawn:
    """The completions of one problem, all fields in one order."""

    id: str
    prompt: str
    texts: tuple[str, ...]
    answers: tuple[str | None, ...]
    """what votes are counted of; None where a completion holds no answer"""
    verdicts: tuple[str, ...]
    """correct, wrong, or none: no verdict was reached, which is not wrong"""
    logp: tuple[float, ...]
    """log-prob of the whole completion, in nats, its end token included"""
    lengths: tuple[int, ...]
    """tokens that ``logp`` sums over"""
    entropy: tuple[float, ...] | None = None
    """mean full-softmax entropy per token, in nats"""
    tokens: tuple[tuple[int, ...], ...] | None = None
    traits: tuple[Mapping[str, str | float], ...] | None = None
    embeddings: tuple[tuple[float, ...], ...] | None = None
    finish: tuple[str, ...] | None = None
    """why each is over, as ``Trace.finish`` says it: limit is one that was cut off"""

    def __post_init__(self) -> None:
        for field in fields(self)[3:]:
            column = getattr(self, field.name)
            if column is not None and len(column) != len(self.texts):
                what = f"has {len(column)} {field.name} for {len(self.texts)} texts"
                raise ValueError(f"samples: problem {self.id!r} {what}; give one for each")
        strange = [verdict for verdict in self.verdicts if verdict not in OUTCOMES]
        if strange:
            raise ValueError(f"samples: problem {self.id!r} has a verdict {strange[0]!r}; say {', '.join(OUTCOMES)}")

    @property
    def judged(self) -> tuple[int, ...]:
        """Which completions got a verdict."""
        return tuple(i for i, verdict in enumerate(self.verdicts) if verdict != "none")

    @property
    def num_correct(self) -> int:
        return self.verdicts.count("correct")


@dataclass(frozen=True)
class Crossed:
    """Mean log-prob per token of one completion of each of N problems (down) under each of their prompts (across)."""

    ids: tuple[str, ...]
    logp: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.ids) for row in self.logp) or len(self.logp) != len(self.ids):
            raise ValueError(f"samples: crossed log-probs of {len(self.ids)} problems are not square; cross each pair")


@dataclass(frozen=True)
class Samples:
    """Every problem's completions. Raises ValueError where there is no problem or one without completions.

    >>> one = Drawn("p1", "1 + 1 =", ("2", "3"), ("2", "3"), ("correct", "wrong"), (-0.1, -2.4), (1, 1))
    >>> Samples((one,)).most, one.num_correct, one.judged
    (2, 1, (0, 1))
    """

    problems: tuple[Drawn, ...]
    crossed: Crossed | None = None

    def __post_init__(self) -> None:
        empty = [one.id for one in self.problems if not one.texts]
        if empty or not self.problems:
            where = f"problem {empty[0]!r} has no completion" if empty else "there is no problem"
            raise ValueError(f"samples: {where}; draw some first")

    @property
    def most(self) -> int:
        """The largest number of completions of a problem that got a verdict."""
        return max(len(one.judged) for one in self.problems)

    def each(self, measure: Any) -> NDArray[np.float64]:
        """``measure(problem)`` of every problem; nan where it does not apply."""
        return np.array([measure(one) for one in self.problems], dtype=float)


def to_row(row: Drawn | Crossed) -> dict[str, Any]:
    """What one line holds.

    >>> to_row(Crossed(("a", "b"), ((-1.0, -2.0), (-2.0, -1.0))))
    {'crossed': {'ids': ('a', 'b'), 'logp': ((-1.0, -2.0), (-2.0, -1.0))}}
    """
    name = "crossed" if isinstance(row, Crossed) else "problem"
    return {name: {key: value for key, value in asdict(row).items() if value is not None}}


def from_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[list[Drawn], Crossed | None]:
    """What lines hold. Raises ValueError that names the line which is none of ours."""
    problems: list[Drawn] = []
    crossed: Crossed | None = None
    for number, row in enumerate(rows, 1):
        try:
            if "crossed" in row:
                crossed = Crossed(**_frozen(row["crossed"]))
            else:
                problems.append(Drawn(**_frozen(row["problem"])))
        except (ValueError, TypeError, KeyError) as error:
            raise lines.damaged(path, number, f"holds no samples ({error})") from None
    return problems, crossed


def read(path: Path) -> Samples:
    """The samples in a file. Raises ValueError in one line where it is missing, cut or changed."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; forkpoint probe writes it")
    problems, crossed = from_rows(lines.read(path), path)
    return Samples(tuple(problems), crossed)


def write(samples: Samples, path: Path) -> None:
    """The samples as a file that ``read`` returns them from, equal to the last bit.

    Raises ValueError for a number that is not finite.
    """
    rows = [*samples.problems, *([samples.crossed] if samples.crossed else [])]
    path.write_bytes(b"".join(lines.to_line(to_row(row)) for row in rows))


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _tuples(value) for key, value in values.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
