"""What every task promises, whoever wrote it."""

from itertools import islice
from random import Random

import pytest

from forkpoint import catalog
from forkpoint.labels import Label
from forkpoint.tasks import Problem, Task, Verdict
from forkpoint.tasks.dyck import Dyck

every_task = pytest.mark.parametrize("task", [catalog.get("tasks", name)() for name in catalog.names("tasks")], ids=str)


def problems(task: Task, split: str = "train", count: int = 200) -> list[Problem]:
    return list(islice(task.problems(split), count))


@every_task
def test_the_answer_key_proves_itself(task):
    assert all(task.score(problem, task.solution(problem)).correct for problem in problems(task))


@every_task
def test_the_answer_of_a_solution_is_a_part_of_it_and_nothing_has_none(task):
    for problem in islice(task.problems("test"), 20):
        solution = task.solution(problem)
        found = task.answer(problem, solution)
        assert found and found in solution and task.answer(problem, f"{solution} ") == found
        assert task.answer(problem, "") is None
        if task.thinking:
            assert task.answer(problem, solution.partition(task.thinking.end)[0]) is None


@every_task
def test_problems_repeat_from_their_seed_and_differ_between_seeds(task):
    first, again, other = (list(islice(task.problems("train", seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@every_task
def test_splits_share_no_problem(task):
    assert not {p.id for p in problems(task, "train", 2000)} & {p.id for p in problems(task, "test", 500)}


@every_task
def test_a_prompt_states_its_problem(task):
    assert all(task.read(problem.prompt) == problem for problem in problems(task))


@every_task
@pytest.mark.parametrize("prompt", ["", "think", "what is 2 + 2 ?", "1 2 3 target x think", "brackets ² ( think"])
def test_a_prompt_that_states_none_gets_one_line(task, prompt):
    with pytest.raises(ValueError, match=task.name) as caught:
        task.read(prompt)
    assert "\n" not in str(caught.value)


@every_task
def test_all_text_is_in_the_vocabulary(task):
    rng = Random(0)
    for problem in problems(task):
        words = f"{problem.prompt} {task.demonstrate(problem, rng)} {task.solution(problem)}".split()
        assert set(words) <= set(task.vocabulary)


@every_task
def test_demonstrations_repeat_from_their_seed_and_are_right_sometimes(task):
    problem = problems(task)[0]
    assert task.demonstrate(problem, Random(3)) == task.demonstrate(problem, Random(3))
    rng = Random(0)
    right = [task.score(p, task.demonstrate(p, rng)).correct for p in problems(task)]
    assert 0.2 < sum(right) / len(right) < 0.95


@every_task
def test_every_token_gets_one_label_whatever_was_written(task):
    rng = Random(0)
    for problem in problems(task):
        noise = [rng.choice(task.vocabulary) for _ in range(rng.randrange(30))]
        for tokens in ([], noise, task.demonstrate(problem, rng).split(), task.solution(problem).split()):
            labels = task.labels(problem, tokens)
            assert len(labels) == len(tokens)
            assert all(isinstance(label, Label) for label in labels)


@every_task
def test_a_right_answer_has_no_unknown_token_and_some_fork(task):
    labels = [label for problem in problems(task) for label in task.labels(problem, task.solution(problem).split())]
    assert Label.OTHER not in labels
    assert Label.FORK in labels


@every_task
def test_guessing_stays_below_the_stated_chance(task):
    """The leak sweep: what costs no work must not pay."""
    shares = guessed(task, count=1000)
    assert {kind: share for kind, share in shares.items() if share > task.chance} == {}


def guessed(task: Task, count: int) -> dict[str, float]:
    """The share of correct verdicts of each way to guess; every text must get a verdict."""
    rng = Random(0)
    some = problems(task, count=count)
    solutions = [task.solution(problem) for problem in some]
    guesses = {
        "constant": [solutions[0]] * count,
        "empty": [""] * count,
        "blank": [" \n\t "] * count,
        "prompt": [problem.prompt for problem in some],
        "another's": solutions[1:] + solutions[:1],
        "spray of words": [" ".join(rng.choice(task.vocabulary) for _ in range(12)) for _ in some],
        "whole vocabulary": [" ".join(task.vocabulary)] * count,
        "all answers, with the right one": [" ".join([*solutions[:20], right]) for right in solutions],
        "another last word": [" ".join([*cut(right), other(task, right, rng)]) for right in solutions],
        "a last word more": [f"{right} {other(task, right, rng)}" for right in solutions],
    }
    shares = {}
    for kind, texts in guesses.items():
        verdicts = [task.score(p, text) for p, text in zip(some, texts, strict=True)]
        assert all(type(verdict) is Verdict and verdict.outcome != "none" for verdict in verdicts), kind
        shares[kind] = sum(verdict.correct for verdict in verdicts) / count
    return shares


@every_task
def test_the_right_answer_with_junk_around_it_is_wrong(task):
    for p in problems(task, count=1000):
        right = task.solution(p)
        for junk in (f"{right} {right}", f"{right} )", f"{right} = 1", " ".join(cut(right)), f"{right} , 1 + 1 = 2"):
            assert not task.score(p, junk).correct, junk


def test_the_leak_sweep_catches_a_scorer_that_pays_for_substrings():
    """The negative control: a task that only looks whether the solution is somewhere in the text."""

    class Leaky(Dyck):
        def score(self, problem, text):
            return Verdict("correct" if self.solution(problem) in text else "wrong")

    shares = guessed(Leaky(8, 16, 0.04), count=50)
    assert {kind for kind, share in shares.items() if share == 1} == {
        "all answers, with the right one",
        "a last word more",
    }


def cut(text: str) -> list[str]:
    """All words but the last."""
    return text.split()[:-1]


def other(task: Task, text: str, rng: Random) -> str:
    """A word of the task that is not the last of a text."""
    return rng.choice([word for word in task.vocabulary if word != text.split()[-1]])


@every_task
def test_a_task_scored_in_this_process_says_why_that_is_safe(task):
    assert task.in_process == "" or len(task.in_process.split()) > 5
