"""What every task promises, whoever wrote it."""

from itertools import islice
from random import Random

import pytest

from forkpoint import catalog
from forkpoint.labels import Label
from forkpoint.tasks import Problem, Task

every_task = pytest.mark.parametrize("task", [catalog.get("tasks", name)() for name in catalog.names("tasks")], ids=str)


def problems(task: Task, split: str = "train", count: int = 200) -> list[Problem]:
    return list(islice(task.problems(split), count))


@every_task
def test_the_answer_key_proves_itself(task):
    assert all(task.score(problem, task.solution(problem)).correct for problem in problems(task))


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
    """Constant, empty, spray, another problem's answer, and the right answer with junk around it."""
    rng = Random(0)
    some = problems(task, count=400)
    solutions = [task.solution(problem) for problem in some]
    sprays = [" ".join(rng.choice(task.vocabulary) for _ in range(12)) for _ in some]
    guesses = {
        "constant": [solutions[0]] * len(some),
        "empty": [""] * len(some),
        "another's": solutions[1:] + solutions[:1],
        "spray": sprays,
        "all answers": [" ".join(solutions[:20])] * len(some),
    }
    for kind, texts in guesses.items():
        right = sum(task.score(p, text).correct for p, text in zip(some, texts, strict=True))
        assert right / len(some) <= task.chance, kind
    for p, right in zip(some, solutions, strict=True):
        for junk in (
            f"{right} {right}",
            f"{right} )",
            f"{right} = 1",
            right.rpartition(" ")[0],
            f"{right} , 1 + 1 = 2",
        ):
            assert not task.score(p, junk).correct, junk
