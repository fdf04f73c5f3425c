"""What the two failures look like in numbers, each with an interval over problems, and whether a lever crosses over."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forkpoint.metrics.pass_at_k import unbiased_pass_at_k
from forkpoint.probes import Drawn, Samples, Value, over_problems
from forkpoint.probes._toy_model import Inflation, fit, gaussian_variance
from forkpoint.probes.answer_entropy import answer_entropy
from forkpoint.recipes.failures import Arm
from forkpoint.report._text import listed

ENOUGH = 10
"""problems, for a change to be sure"""
AT_INFERENCE = ("long", "free", "stop", "votes")


class Reach(NamedTuple):
    """pass@k of one model, and its change from before training on the same problems."""

    arm: str
    k: int
    passes: Value
    change: Value | None
    """None for the model before"""


class Spread(NamedTuple):
    """One way to force thinking, or none."""

    arm: str
    way: str
    """``free``, ``wait-N`` or ``think-N``"""
    thinking: float
    """tokens, mean"""
    accuracy: Value
    entropy: Value
    """of the answers to a problem, no answer being one of them; nats"""
    no_answer: Value
    cut: float
    """share of completions that their limit ended"""


class Cell(NamedTuple):
    """One model with one way to spend tokens at inference."""

    arm: str
    lever: str
    accuracy: Value
    tokens: float
    """per problem after its prompt, read again, kept or not; mean"""
    changed: float
    """share of completions that are others than in free thinking, with the same draws; nan for votes"""


class Crossing(NamedTuple):
    """Whether the lever of one side changes the failure of the other."""

    asked: str
    change: Value

    @property
    def sure(self) -> bool:
        """Never of fewer than ``ENOUGH`` problems, whose bootstrap says nothing of others."""
        return self.change.problems >= ENOUGH and (self.change.low > 0 or self.change.high < 0)


class Rights(NamedTuple):
    """Shares of right completions of one model, problem by problem; the last axis is the problems."""

    long: NDArray[np.float64]
    free: NDArray[np.float64]
    stop: NDArray[np.float64]
    votes: NDArray[np.float64]
    free_paths: NDArray[np.float64]
    """pass@k of all completions that think freely"""
    stop_paths: NDArray[np.float64]
    reach: NDArray[np.float64]
    """pass@k of all completions as trained"""


class Summary(NamedTuple):
    reach: list[Reach]
    spread: list[Spread]
    curves: dict[str, Inflation]
    """of the toy model, by arm"""
    cells: list[Cell]
    crossings: list[Crossing]
    """none without a third model"""


def summary(arms: Sequence[Arm]) -> Summary:
    spread = [one for arm in arms for one in _spread(arm)]
    curves = {arm.name: _curve([one for one in spread if one.arm == arm.name]) for arm in arms}
    cells = [_cell(arm, lever) for arm in arms[1:] for lever in AT_INFERENCE]
    crossings = list(_crossings(*arms)) if len(arms) == 3 else []
    return Summary([one for arm in arms for one in _reach(arms[0], arm)], spread, curves, cells, crossings)


def unjudged(arms: Sequence[Arm]) -> list[str]:
    """A sentence for each model of which completions got no verdict."""
    told = []
    for arm in arms:
        files = {"samples": arm.samples, "free": arm.free, **arm.forced, "stop": arm.stop, "votes": arm.votes}
        missing = {name: [one.verdicts.count("none") for one in found.problems] for name, found in files.items()}
        clauses = [f"{sum(counts)} in {name}" for name, counts in missing.items() if sum(counts)]
        told += [f"{arm.name}: {listed(clauses)} without a verdict"] if clauses else []
    return told


def one_model(arms: Sequence[Arm]) -> list[str]:
    """A sentence for models that have the same weights: nothing can differ between them."""
    named: dict[str, list[str]] = {}
    for arm in arms:
        named.setdefault(arm.weights or arm.name, []).append(arm.name)
    return [f"{listed(names)} have the same weights: they are one model" for names in named.values() if len(names) > 1]


def right(samples: Samples, k: int = 1) -> NDArray[np.float64]:
    """Unbiased pass@k of each problem; nan where fewer than k completions got a verdict."""
    return samples.each(
        lambda one: unbiased_pass_at_k(len(one.judged), one.num_correct, k) if len(one.judged) >= k > 0 else np.nan
    )


def _reach(before: Arm, arm: Arm) -> list[Reach]:
    sizes = [1 << power for power in range(min(before.samples.most, arm.samples.most).bit_length())]
    return [
        Reach(
            arm.name,
            k,
            over_problems(right(arm.samples, k), unit="share"),
            None if arm is before else over_problems(right(arm.samples, k) - right(before.samples, k), unit="share"),
        )
        for k in sizes
    ]


def _spread(arm: Arm) -> list[Spread]:
    """From the shortest thinking to the longest."""
    return sorted((_one(arm, way, found) for way, found in {"free": arm.free, **arm.forced}.items()), key=_thinking)


def _thinking(one: Spread) -> float:
    return one.thinking


def _one(arm: Arm, way: str, samples: Samples) -> Spread:
    thinking = [float(trait["thinking"]) for one in samples.problems for trait in one.traits or ()]
    found = answer_entropy(samples).values
    accuracy = over_problems(right(samples), unit="share")
    cut = cut_share(samples, arm.most[way])
    return Spread(arm.name, way, fmean(thinking), accuracy, found["answer_entropy"], found["no_answer"], cut)


def cut_share(samples: Samples, most: int) -> float:
    """Share of completions that their limit ended, not an end of their own.

    Lines written before they said how a completion is over: those that took ``most`` tokens, the most they may.
    """

    def cut(one: Drawn) -> list[bool]:
        return [length >= most for length in one.lengths] if one.finish is None else [w == "limit" for w in one.finish]

    return fmean(each for one in samples.problems for each in cut(one))


def _curve(found: Sequence[Spread]) -> Inflation:
    """Of free thinking and of waits: a thought of exact length is cut off, which is no matter of variance."""
    waits = [one for one in found if not one.way.startswith("think-") and one.accuracy.problems]
    return fit([gaussian_variance(one.entropy.value) for one in waits], [one.accuracy.value for one in waits])


def _cell(arm: Arm, lever: str) -> Cell:
    samples: Samples = getattr(arm, lever)
    tokens = fmean(length for one in samples.problems for length in one.lengths)
    changed = np.nan if lever == "votes" else changed_share(samples, arm.free)
    return Cell(arm.name, lever, over_problems(right(samples), unit="share"), tokens, changed)


def changed_share(samples: Samples, free: Samples) -> float:
    """Share of completions that differ from those of free thinking, which were drawn alike."""
    pairs = zip(samples.problems, free.problems, strict=True)
    return fmean(text != other for one, own in pairs for text, other in zip(one.texts, own.texts, strict=True))


def _crossings(*arms: Arm) -> list[Crossing]:
    paths = min(min(arm.free.most, arm.stop.most) for arm in arms)
    k = min(arm.samples.most for arm in arms)
    asked = questions(*(rights(arm, paths, k) for arm in arms), paths=paths, k=k)
    return [Crossing(question, over_problems(change, unit="share")) for question, change in asked.items()]


def rights(arm: Arm, paths: int, k: int) -> Rights:
    """Of one model; pass@k of ``paths`` completions for each way of thinking, and of ``k`` as trained."""
    return Rights(
        *(right(getattr(arm, way)) for way in AT_INFERENCE),
        free_paths=right(arm.free, paths),
        stop_paths=right(arm.stop, paths),
        reach=right(arm.samples, k),
    )


def uneven(after: float, kept: float) -> str:
    """A sentence where votes of two models spend tokens that differ by more than a tenth, else nothing.

    >>> uneven(60.0, 117.0).partition(": ")[2]
    '60 tokens after training and 117 where entropy was kept, so that between models they are not at equal tokens.'
    >>> uneven(60.0, 64.0)
    ''
    """
    if max(after, kept) <= 1.1 * min(after, kept):
        return ""
    spent = f"{after:.0f} tokens after training and {kept:.0f} where entropy was kept"
    what = "Votes spend what their own model's long thought took"
    return f"{what}: {spent}, so that between models they are not at equal tokens."


def questions(before: Rights, after: Rights, kept: Rights, *, paths: int, k: int) -> dict[str, NDArray[np.float64]]:
    """Question -> the change that answers it, problem by problem."""
    cost = kept.free - kept.long - (after.free - after.long)
    did = after.stop_paths - before.stop_paths - (after.free_paths - before.free_paths)
    return {
        f"Own side: does entropy kept in training change pass@{k}?": kept.reach - after.reach,
        "Other side: does entropy kept in training change what long thinking costs?": cost,
        "Own side: do votes change accuracy against long thinking, after training?": after.votes - after.long,
        "Own side: do votes change accuracy against free thinking, after training?": after.votes - after.free,
        "Own side: does an early stop change accuracy against long thinking, after training?": after.stop - after.long,
        "Own side: does an early stop change accuracy against free thinking, after training?": after.stop - after.free,
        f"Other side: does an early stop change what training did to pass@{paths}?": did,
        "Both: do votes gain more where entropy was kept?": kept.votes - kept.long - (after.votes - after.long),
        "Both: does an early stop gain more where entropy was kept?": kept.stop - kept.long - (after.stop - after.long),
    }
