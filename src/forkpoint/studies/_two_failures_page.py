"""The page of the two failures over seeds: tables, two figures, and each question answered with its interval."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forkpoint.recipes._failures_cells import NAMES
from forkpoint.recipes._failures_summary import AT_INFERENCE, Rights, questions, uneven
from forkpoint.record.documents import write_bytes
from forkpoint.studies._inference_page import estimate, markdown, share, signed, verdict
from forkpoint.studies._pieces import Row
from forkpoint.studies._svg import lines

APART = 1.5
"""how many times the least of the seeds the largest may be for their mean to stand alone"""
SELDOM = 0.01
"""share, on average, below which no seed is named"""
ARMS = {"before": "before RL", "after": "after GRPO", "kept": "entropy kept (fork_thermostat)"}


def write_page(page: Path, found: Mapping[int, Row]) -> Path:
    """``page`` as Markdown, and its figures beside it; returns ``page``."""
    page.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(page, "\n\n".join(_parts(page, found)).encode() + b"\n")
    return page


def _parts(page: Path, found: Mapping[int, Row]) -> Iterator[str]:
    yield "# Collapse in training, inflation at inference: two failures?"
    if not found:
        yield "No seed is measured yet: `python -m forkpoint.studies.two_failures`."
        return
    row = next(iter(found.values()))
    asked = row["asked"]
    commits = ", ".join(sorted({one["commit"] for one in found.values() if one["commit"]}))
    yield (
        f"Written by `python -m forkpoint.studies.two_failures` from the rows in "
        f"`benchmarks/results/study-two-failures`: {len(found)} seeds, {asked['problems']} held-out problems of "
        f"countdown, {asked['k']} completions of each as trained and {asked['paths']} for each way of thinking, of "
        f"{asked['max_tokens']} tokens at most and as many again for every wait; commits {commits}. Means over seeds "
        "with 95 % bootstrap intervals over seeds and problems; three seeds are few for it. One tiny policy and one "
        "task: nothing here speaks for large models. `forkpoint failures` makes the same comparison of any models, as "
        "a page."
    )
    yield "## Does either lever touch the other failure?"
    yield markdown(["question", "change", "answer"], _answers(found))
    yield (
        "What long thinking costs is the accuracy of one free thought less that of one long thought. Entropy kept in "
        f"training changes the first by {signed(estimate(_gain(found, 'free')))} and the second by "
        f"{signed(estimate(_gain(found, 'long')))}."
    )
    yield from _of_seeds(found)
    yield (
        "Votes draw from the policy as it is, so that they cannot change its pass@k. An interval that holds 0 is no "
        "proof of independence; how wide it is says what could hide in it. An early stop against free thinking is the "
        "lever itself; against the long thought it is mostly that no wait was forced. It changes "
        f"{_stopped(found, 'after')} of the completions after GRPO and {_stopped(found, 'kept')} with entropy kept, so "
        "that what it does not touch says little."
    )
    yield f"## Both levers, crossed: accuracy, with the long thought kept from ending {asked['long']} times"
    yield markdown(["", *(NAMES[way] for way in AT_INFERENCE)], [_cells(found, arm) for arm in ("after", "kept")])
    yield "## What training took"
    sizes = list(row["arms"]["before"]["passes"])
    yield markdown(
        ["pass@k at temperature 1", *(f"k = {k}" for k in sizes)],
        [[name, *(share(estimate(_passes(found, arm, k))) for k in sizes)] for arm, name in ARMS.items()],
    )
    roles = list(row["arms"]["before"]["roles"])
    yield markdown(
        ["entropy, nats", *roles],
        [[name, *(_role(found, arm, role) for role in roles)] for arm, name in ARMS.items()],
    )
    yield "## What longer thinking adds"
    for key, title in (("accuracy", "Accuracy of one completion"), ("answer_entropy", "Answer entropy, nats")):
        figure = page.with_name(f"{page.stem}-{key.replace('_', '-')}.svg")
        series = {name: _curve(found, arm, key) for arm, name in ARMS.items()}
        write_bytes(figure, lines(title, series, "thinking tokens, mean", title.lower()).encode())
        yield f"![{title}]({figure.name})"
    head = ["", "thinking", "tokens of it", "accuracy", "answer entropy, nats", "without an answer", "cut off"]
    yield markdown(head, [_way(found, arm, way) for arm in ARMS for way in row["arms"][arm]["spread"]])
    yield (
        "A completion without an answer is a class of its own in the answer entropy, which is why it can fall while "
        "ever fewer completions come to an answer. Cut off: took all the tokens they may, whether or not they had "
        "answered by then. ± is the standard deviation over seeds; in parentheses are the seeds, where the largest "
        f"number of tokens, or of cut completions, is more than {APART} times the least. Entropies by role are of "
        "eight completions of the first 32 problems."
    )


def _of_seeds(found: Mapping[int, Row]) -> Iterator[str]:
    """Where votes are not at equal tokens, and whether means are of seeds that differ: then seed by seed."""
    both = ("after", "kept")
    if not any(_apart(_each(found, arm, way)) for arm in both for way in ("long", "votes")):
        if note := uneven(*(_tokens(found, arm, "votes") for arm in both)):
            yield note
        return
    yield (
        f"Seeds of one training differ by more than {APART} times in the tokens of a long thought, or of votes, which "
        "spend what their own model's long thought took: a mean over them describes none, and votes of two models are "
        "at equal tokens only where they are so here. Seed by seed:"
    )
    head = ["", "seed", "tokens of a long thought", "cut off", "accuracy", "tokens of votes", "accuracy of votes"]
    gains = np.nanmean(_gain(found, "votes"), axis=1)
    rows = [_seed(row, arm) for arm in both for row in found.values()]
    lines = [*[""] * len(found), *(f"{gain:+.3f}" for gain in gains)]
    yield markdown(
        [*head, "votes, less those after GRPO"], [[*row, line] for row, line in zip(rows, lines, strict=True)]
    )


def _seed(row: Row, arm: str) -> list[str]:
    one = row["arms"][arm]
    cut = one["spread"].get(f"wait-{row['asked']['long']}", {}).get("cut")
    long, votes = (float(np.nanmean(_table([one["rights"][way]]))) for way in ("long", "votes"))
    tokens = [f"{one['tokens'][way]:.1f}" for way in ("long", "votes")]
    told = "" if cut is None else f"{100 * cut:.1f} %"
    return [ARMS[arm], str(row["seed"]), tokens[0], told, f"{long:.3f}", tokens[1], f"{votes:.3f}"]


def _apart(values: Sequence[float]) -> bool:
    return max(values) > APART * min(values)


def _and_seeds(values: Sequence[float], digits: int) -> str:
    """The mean, and in parentheses the seeds where they are apart.

    >>> _and_seeds([126.6, 57.4, 63.6], 0), _and_seeds([60.1, 57.4, 65.5], 0)
    ('83 (127, 57, 64)', '61')
    """
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ({', '.join(f'{one:.{digits}f}' for one in values)})" if _apart(values) else mean


def _gain(found: Mapping[int, Row], way: str) -> NDArray[np.float64]:
    """Accuracy with entropy kept less that after GRPO."""
    return getattr(_rights(found, "kept"), way) - getattr(_rights(found, "after"), way)


def _stopped(found: Mapping[int, Row], arm: str) -> str:
    return f"{100 * np.mean([row['arms'][arm]['stopped'] for row in found.values()]):.1f} %"


def _answers(found: Mapping[int, Row]) -> list[list[str]]:
    arms = [_rights(found, arm) for arm in ARMS]
    asked = next(iter(found.values()))["asked"]
    rows = []
    for question, change in questions(*arms, paths=asked["paths"], k=asked["k"]).items():
        every = estimate(change)
        rows.append([question, signed(every), verdict(every, "yes, up", "yes, down")])
    return rows


def _rights(found: Mapping[int, Row], arm: str) -> Rights:
    return Rights(
        **{key: _table([row["arms"][arm]["rights"][key] for row in found.values()]) for key in Rights._fields}
    )


def _cells(found: Mapping[int, Row], arm: str) -> list[str]:
    every = _rights(found, arm)
    tokens = [_and_seeds(_each(found, arm, way), 0) for way in AT_INFERENCE]
    cells = [share(estimate(getattr(every, way))) for way in AT_INFERENCE]
    return [ARMS[arm], *(f"{cell}, {spent} tokens" for cell, spent in zip(cells, tokens, strict=True))]


def _tokens(found: Mapping[int, Row], arm: str, way: str) -> float:
    return float(np.mean(_each(found, arm, way)))


def _each(found: Mapping[int, Row], arm: str, way: str) -> list[float]:
    return [row["arms"][arm]["tokens"][way] for row in found.values()]


def _passes(found: Mapping[int, Row], arm: str, k: str) -> NDArray[np.float64]:
    return _table([row["arms"][arm]["passes"][k] for row in found.values()])


def _role(found: Mapping[int, Row], arm: str, role: str) -> str:
    values = [row["arms"][arm]["roles"][role] for row in found.values()]
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.4f}"


def _curve(found: Mapping[int, Row], arm: str, key: str) -> list[tuple[float, float]]:
    ways = next(iter(found.values()))["arms"][arm]["spread"]
    points = [(_thinking(found, arm, way), estimate(_spread(found, arm, way, key)).mean) for way in ways]
    return sorted(points)


def _way(found: Mapping[int, Row], arm: str, way: str) -> list[str]:
    cells = [share(estimate(_spread(found, arm, way, key))) for key in ("accuracy", "answer_entropy", "no_answer")]
    thinking, cut = ([row["arms"][arm]["spread"][way][key] for row in found.values()] for key in ("thinking", "cut"))
    cut = _and_seeds(cut, 2) if np.mean(cut) >= SELDOM else f"{np.mean(cut):.2f}"
    return [ARMS[arm], way, _and_seeds(thinking, 1), *cells, cut]


def _spread(found: Mapping[int, Row], arm: str, way: str, key: str) -> NDArray[np.float64]:
    return _table([row["arms"][arm]["spread"][way][key] for row in found.values()])


def _thinking(found: Mapping[int, Row], arm: str, way: str) -> float:
    return float(np.mean([row["arms"][arm]["spread"][way]["thinking"] for row in found.values()]))


def _table(columns: list[list[float | None]]) -> NDArray[np.float64]:
    """(seeds, problems); a problem without a verdict is nan."""
    return np.array(columns, dtype=float)
