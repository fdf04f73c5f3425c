"""Several completions of each problem by a decoder, as samples that every probe reads."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from forkpoint.decoders import Ask, Decoded, Decoder, Policy, Trace, build
from forkpoint.decoders.entropy_stop import Thresholds, thresholds
from forkpoint.decoders.parallel_vote import votes_of
from forkpoint.probes import Drawn
from forkpoint.tasks import Problem, Task
from forkpoint.verify import score


class TooFew(ValueError):
    """Too few completions to calibrate by."""


class Many(NamedTuple):
    """How many completions of a problem."""

    k: int
    max_tokens: int
    """of each, at most"""
    seed: int = 0
    chat: bool = False


def asks(policy: Policy, task: Task, problems: Sequence[Problem], chat: bool = False) -> list[Ask]:
    return [
        Ask(problem.id, policy.encode(problem.prompt, chat=chat), lambda text, of=problem: task.answer(of, text))
        for problem in problems
    ]


def paths(policy: Policy, decoder: Decoder, task: Task, problems: Sequence[Problem], many: Many) -> Iterator[Drawn]:
    """``k`` completions of each problem, each as if it were alone; ``traits`` has the tokens of its thinking.

    Raises what the decoder raises, and ValueError where its completions are not of one row.
    """
    for problem, (one, verdicts) in zip(problems, _judged(policy, decoder, task, problems, many), strict=True):
        yield Drawn(
            id=problem.id,
            prompt=problem.prompt,
            texts=tuple(trace.text for trace in one.traces),
            answers=tuple(trace.answer for trace in one.traces),
            verdicts=verdicts,
            logp=tuple(trace.logp for trace in one.traces),
            lengths=tuple(trace.generated for trace in one.traces),
            traits=tuple({"thinking": float(trace.thinking)} for trace in one.traces),
            finish=tuple(trace.finish for trace in one.traces),
        )


def votes(task: Task, problems: Sequence[Problem], found: Sequence[Decoded]) -> Iterator[Drawn]:
    """The voted answer of each problem as its one completion; its length is every token but the prompt's first read."""
    verdicts = score(task, problems, [one.text for one in found])
    for problem, one, verdict in zip(problems, found, verdicts, strict=True):
        spent = one.spent.total - one.spent.prompt
        yield Drawn(problem.id, problem.prompt, (one.text,), (one.answer,), (verdict.outcome,), (0.0,), (spent,))


def last_steps(
    policy: Policy, decoder: Decoder, task: Task, problems: Sequence[Problem], many: Many, window: int
) -> tuple[list[float], list[float]]:
    """Mean entropy of the last ``window`` thinking tokens in a row, of right and of wrong completions.

    It calibrates a stop, whose steps never reach from one thought into the next. Of the entropy that ``decoder`` reads;
    completions without a thought as long, or without a verdict, are left out.
    """
    found: dict[str, list[float]] = {"correct": [], "wrong": [], "none": []}
    for one, verdicts in _judged(policy, decoder, task, problems, many):
        for trace, verdict in zip(one.traces, verdicts, strict=True):
            step = last_step(trace, window)
            if step:
                found[verdict].append(sum(step) / window)
    return found["correct"], found["wrong"]


def last_step(trace: Trace, window: int) -> list[float]:
    """Entropies of the last ``window`` thinking tokens in a row that it made itself; empty where no thought has them.

    >>> thought = (True, True, True, False, True, True, False)
    >>> one = Trace((9,) * 7, "", None, "end", thought, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    >>> last_step(one, 2), last_step(one, 3), last_step(one, 4)
    ([0.5, 0.6], [0.1, 0.2, 0.3], [])
    """
    own = zip(trace.thought[trace.shared :], trace.entropy, strict=False)
    runs = [[entropy for _, entropy in run] for thinks, run in groupby(own, key=lambda each: each[0]) if thinks]
    return next((run[-window:] for run in reversed(runs) if len(run) >= window), [])


def calibrated(
    policy: Policy, stop: Decoder, free: Decoder, task: Task, problems: Sequence[Problem], many: Many
) -> Thresholds:
    """The thresholds of ``entropy_stop`` from completions that think freely; choose problems of the training split.

    ``free`` samples, and ``stop`` says which entropy and how many tokens. Raises TooFew where fewer than two right or
    two wrong completions think for so long.
    """
    window = stop.settings["window"]
    reads = build(free.name, **{**free.settings, "entropy": stop.settings["entropy"]})
    right, wrong = last_steps(policy, reads, task, problems, many, window)
    if min(len(right), len(wrong)) < 2:
        what = f"{len(right)} right and {len(wrong)} wrong completions think for {window} tokens"
        raise TooFew(f"{what}, too few to calibrate the early stop; give --settings window= or stop.threshold=")
    return thresholds(right, wrong)


def _judged(
    policy: Policy, decoder: Decoder, task: Task, problems: Sequence[Problem], many: Many
) -> Iterator[tuple[Decoded, tuple[str, ...]]]:
    """Each problem's completions, and the verdict on each."""
    asked = asks(policy, task, problems, many.chat)
    # so that one wave pays for all of them
    budget = max(len(ask.prompt) for ask in asked) + many.k * many.max_tokens
    made = votes_of(decoder, max_tokens=many.max_tokens, max_paths=many.k)
    found = made.decode(policy, asked, budget, seed=many.seed)
    repeated = [problem for problem in problems for _ in range(many.k)]
    verdicts = [one.outcome for one in score(task, repeated, [trace.text for one in found for trace in one.traces])]
    for i, one in enumerate(found):
        yield one, tuple(verdicts[i * many.k : (i + 1) * many.k])
