"""Scoring a task's completions: the same verdicts in-process and in a pool, whatever the task's score does."""

import sys
from dataclasses import dataclass
from itertools import islice
from random import Random

import pytest

from forkpoint.tasks import Problem, Task, Verdict
from forkpoint.tasks.countdown import Countdown, countdown
from forkpoint.tasks.dyck import Dyck, dyck
from forkpoint.verify import Limits, score
from forkpoint.verify._score import _pool
from tests.verify.scorers import behaves


class PooledCountdown(Countdown):
    in_process = ""


class PooledDyck(Dyck):
    in_process = ""


@dataclass(frozen=True)
class Behaves(Task):
    """A task whose score does what the text names, in a pool or here."""

    in_process: str = ""
    limits: Limits | None = None
    name = "behaves"

    def read(self, prompt):
        return Problem(prompt, prompt)

    def score(self, problem, text):
        return behaves(problem.prompt, text)


@dataclass(frozen=True)
class Shares(Behaves):
    """JSON turns the numbers that are keys into text: a worker would score by a mapping in which none is found."""

    shares: dict | None = None
    pairs: tuple = ()
    in_process = ""
    limits = None


@pytest.fixture(scope="module", autouse=True)
def kept_pools_end_with_the_module():
    yield
    _pool.cache_clear()


@pytest.mark.parametrize("plain, pooled", [(countdown(), PooledCountdown), (dyck(), PooledDyck)])
def test_a_pool_gives_the_verdicts_of_the_task_itself(plain, pooled):
    task = pooled(**vars(plain))
    rng = Random(0)
    problems = list(islice(plain.problems("train"), 100))
    texts = [task.demonstrate(problem, rng) for problem in problems]
    assert score(task, problems, texts) == score(plain, problems, texts)
    assert [v.outcome for v in score(task, problems, texts)].count("correct") > 20


@pytest.mark.parametrize("in_process", ["", "only raises"])
def test_no_score_raises_for_what_the_scorer_does(in_process):
    task = Behaves(in_process)
    texts = ["raise", "number", "verdict of nonsense", "long reason", "x" * 1_000_001]
    raised, number, nonsense, long, flood = score(task, [task.read("p")] * len(texts), texts)
    assert raised == Verdict("none", r"raised KeyError: 'no\nsuch\x1bkey'")
    assert number == Verdict("none", "the scorer returned int, not a Verdict")
    assert nonsense.outcome == "none"
    assert long.reason.isprintable() and len(long.reason) == 200
    assert flood == Verdict("wrong", "longer than 1000000 bytes")


def test_a_task_is_in_a_pool_unless_it_says_why_not():
    task = Behaves()
    assert score(task, [task.read("p")], ["hang"], limits=Limits(seconds=0.3)) == [Verdict("none", "out of time")]
    assert countdown().in_process and dyck().in_process and not Task.in_process


def test_the_same_task_keeps_its_pool():
    task = PooledDyck(**vars(dyck()))
    problem = next(task.problems("train"))
    score(task, [problem], ["x"])
    before = _pool.cache_info().misses
    score(PooledDyck(**vars(dyck())), [problem], ["x"])
    assert _pool.cache_info().misses == before


def test_a_task_that_no_worker_could_build_is_refused_in_one_line():
    class Local(Behaves): ...

    class Stateful:
        name = "stateful"

        def __init__(self):
            self.secret = 1

    with pytest.raises(ValueError, match="top of a module"):
        score(Local(), [], [])
    Stateful.__qualname__ = "Stateful"
    with pytest.raises(ValueError, match="dataclass"):
        score(Stateful(), [], [])
    with pytest.raises(ValueError, match="no JSON value"):
        score(Behaves(limits=Limits()), [], [])
    with pytest.raises(ValueError, match="field shares does not come back from JSON as it is"):
        score(Shares(shares={1: 0.5}), [], [])
    assert score(Shares(shares={"1": 0.5}, pairs=((1, 2), (3,))), [], []) == []


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ValueError):
        score(countdown(), list(islice(countdown().problems("train"), 2)), ["one"])


HOSTILE = {
    "one word": "9" * 10**6,
    "one letter": "a" * 10**6,
    "spaces": " " * 10**6,
    "words": "answer " * 140_000,
    "phases": " answer ,  , " * 75_000,
    "steps": " answer " + "1 + 1 = 2 , " * 80_000,
    "brackets": "( " * 500_000,
    "pairs": "( ) " * 250_000,
    "closed": ") " * 500_000,
    "tries": "try 1 + 1 = 2 , no " * 50_000,
    "surrogates": "\ud800" * 300_000,
    "other digits": "٤² " * 150_000,
    "nulls": "\0" * 10**6,
    "code": "__import__('os')._exit(1) " * 30_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("task", [countdown(), dyck()], ids=["countdown", "dyck"])
def test_a_task_scored_in_process_ends_on_any_megabyte_and_says_wrong(task, kind):
    problem = next(task.problems("train"))
    verdict = score(task, [problem], [HOSTILE[kind]])[0]
    assert verdict.outcome == "wrong" and len(verdict.reason) <= 200
    task.traits(problem, HOSTILE[kind])
    assert len(task.labels(problem, HOSTILE[kind].split())) == len(HOSTILE[kind].split())


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("task", [countdown(), dyck()], ids=["countdown", "dyck"])
def test_its_work_grows_no_faster_than_the_text(task, kind):
    """Counted in lines run, against a text a quarter as long; quadratic work would be 16 times as much."""
    problem = next(task.problems("train"))
    text = HOSTILE[kind][:100_000]
    assert lines_run(task, problem, text) <= 5 * lines_run(task, problem, text[:25_000]) + 100


def test_the_count_of_lines_sees_quadratic_work():
    class Slow:
        def score(self, problem, text):
            for _ in text:
                for _ in text:
                    pass

    assert lines_run(Slow(), None, "x" * 40) > 5 * lines_run(Slow(), None, "x" * 10) + 100


def lines_run(task, problem, text):
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        task.score(problem, text)
    finally:
        sys.settrace(before)
    return count
