"""What a task is: problems with a known answer key, and a score of what was written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

from forkpoint import catalog
from forkpoint.labels import Label
from forkpoint.verify import Verdict as Verdict

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Problem:
    """One problem. ``id`` is stable over runs and machines; splits never share one."""

    id: str
    prompt: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Thinking:
    """How completions think, for decoders that end thinking or lengthen it: text, which may be several tokens each."""

    end: str
    """what ends thinking and begins the answer, such as ``</think>``"""
    again: str = "Wait"
    """what takes the place of an end so that thinking goes on"""
    begin: str = ""
    """what begins thinking; empty where the prompt has begun it"""
    given_up: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """what else ends thinking, without an answer -> what takes its place so that thinking goes on"""


@runtime_checkable
class Task(Protocol):
    """Text is words with single spaces; a tokenizer with one token per word is ``vocabulary`` plus its specials."""

    name: str
    vocabulary: tuple[str, ...]
    chance: float
    """upper bound on what a guesser without the problem can score, checked by the leak sweep"""
    in_process: str = ""
    """why ``score`` ends in bounded time and memory on any text; where empty, it runs in a pool that can be killed"""
    thinking: Thinking | None = None
    """None where completions are answers and nothing else, or where the model's own markers hold"""

    def problems(self, split: Split, seed: int = 0) -> Iterator[Problem]:
        """An endless stream, the same for the same (split, seed)."""
        ...

    def read(self, prompt: str) -> Problem:
        """The problem a prompt states. Raises ValueError with one line where it states none."""
        ...

    def score(self, problem: Problem, text: str) -> Verdict:
        """Called by ``verify.score``, as a rule in a worker that has built the task from its class and fields."""
        ...

    def answer(self, problem: Problem, text: str) -> str | None:
        """What votes are counted of: the answer in a completion, equal text for equal answers; None where it has none.

        The whole completion, where a task says nothing else.
        """
        return text.strip() or None

    def solution(self, problem: Problem) -> str:
        """A completion that scores correct: the answer key, proven by a test."""
        ...

    def demonstrate(self, problem: Problem, rng: Random) -> str:
        """A completion for supervised training: the way a person of middling skill would write it."""
        ...

    def labels(self, problem: Problem, tokens: list[str]) -> list[Label]:
        """One label per token of a completion, whatever was written."""
        ...

    def traits(self, problem: Problem, text: str) -> dict[str, str | float]:
        """What kind of completion this is, such as its format and number of tries; strings are counted as shares."""
        ...


def task_of(name: str) -> Task:
    """The task of that name, as published. ValueError, in one line, where there is none or its function raises."""
    return catalog.call("task", catalog.get("tasks", name))


def said(message: Any) -> str:
    """The text of a prompt or completion, for a task to read: of a conversation, its last message that is no tool's.

    Empty where there is none, as in a completion that ends with a call.

    >>> said("2 3"), said([{"role": "system", "content": "Count."}, {"role": "user", "content": "2 3"}])
    ('2 3', '2 3')
    >>> said([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "2 3"}]}])
    '2 3'
    >>> said([{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": "5"}]), said([])
    ('', '')
    """
    if isinstance(message, str):
        return message
    own = [one for one in message if one.get("role") != "tool"]
    content = (own[-1].get("content") if own else None) or ""
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def first_problems(task: Task, num: int, split: Split = "test", *, fewer: bool = False) -> list[Problem]:
    """The first ``num`` different problems of a split. Of fewer: all, if ``fewer``, else ValueError."""
    different: dict[str, Problem] = {}
    repeated = 0
    for problem in task.problems(split):
        repeated = repeated + 1 if problem.id in different else 0
        different.setdefault(problem.id, problem)
        if len(different) == num:
            return list(different.values())
        # a stream has no end, also where all of its problems have come
        if repeated > 1000 + 4 * len(different):
            break
    if fewer:
        return list(different.values())
    raise ValueError(f"--problems {num}: the {split} split of {task.name} has {len(different)}; ask for no more")
