"""Dyck: close a bracket prefix into a balanced word of a stated length (definition: Dyck words over two pairs).

A completion is the missing brackets and nothing else::

    brackets 8 [ ( think | ) ] ( ( ) )

Its true forks are known in closed form: the number of right completions is a ballot number times two for each opening,
so the entropy of the uniform policy over right answers is exactly the log of ``Dyck.num_right``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from random import Random

from forkpoint.labels import Label
from forkpoint.tasks._task import Problem, Split, Task
from forkpoint.verify import Verdict

PAIRS = {"(": ")", "[": "]"}


def dyck(shortest: int = 8, longest: int = 16, *, slip_share: float = 0.04) -> "Dyck":
    """Words of even length shortest..longest; a demonstration writes a random bracket with chance ``slip_share``.

    >>> task = dyck()
    >>> problem = task.problem(4, ("(",))
    >>> task.num_right(problem), task.score(problem, ") [ ]").outcome
    (4, 'correct')
    """
    return Dyck(shortest, longest, slip_share)


@dataclass(frozen=True)
class Dyck(Task):
    shortest: int
    longest: int
    slip_share: float

    name = "dyck"
    chance = 0.1
    in_process = "splits at words and counts open brackets: linear in the text, nothing is evaluated"
    vocabulary = ("(", ")", "[", "]", *map(str, range(100)), "brackets", "think")

    def problem(self, length: int, prefix: tuple[str, ...]) -> Problem:
        words = " ".join(prefix)
        return Problem(f"{length} {words}", f"brackets {length} {words} think", {"length": length, "prefix": prefix})

    def read(self, prompt: str) -> Problem:
        first, *rest = prompt.split() or [""]
        length, prefix, last = rest[:1], rest[1:-1], rest[-1:]
        # two digits, as in the vocabulary: what is counted below is nested as deep as the word is long
        number = length[:1] != [] and length[0].isdecimal() and len(length[0]) <= 2
        if (first, last) != ("brackets", ["think"]) or not number or not set(prefix) <= set("()[]"):
            raise ValueError(f"dyck: prompt {prompt!r} is not 'brackets N ( [ ... think'")
        return self.problem(int(length[0]), tuple(prefix))

    def problems(self, split: Split, seed: int = 0) -> Iterator[Problem]:
        """A test problem is one whose text hashes into a tenth of all."""
        rng = Random(f"{split} {seed}")
        while True:
            length = rng.randrange(self.shortest, self.longest + 1, 2)
            word = _uniform(rng, (), length)
            problem = self.problem(length, tuple(word[: rng.randint(1, length // 2)]))
            if (sha256(problem.id.encode()).digest()[0] < 26) == (split == "test"):
                yield problem

    def score(self, problem: Problem, text: str) -> Verdict:
        words = text.split()
        missing = problem.data["length"] - len(problem.data["prefix"])
        if len(words) != missing:
            return Verdict("wrong", f"{len(words)} brackets where {missing} are missing")
        stack = _open(problem.data["prefix"])
        for index, word in enumerate(words):
            following = _following(stack, missing - index)
            if word not in following:
                return Verdict("wrong", f"{word!r} at place {index + 1} cannot lead to a balanced word")
            stack = _push(stack, word)
        return Verdict("correct")

    def solution(self, problem: Problem) -> str:
        return " ".join(_uniform(Random(0), problem.data["prefix"], problem.data["length"]))

    def demonstrate(self, problem: Problem, rng: Random) -> str:
        words = _uniform(rng, problem.data["prefix"], problem.data["length"])
        return " ".join(rng.choice("()[]") if rng.random() < self.slip_share else word for word in words)

    def labels(self, problem: Problem, tokens: list[str]) -> list[Label]:
        """FORK where two or more brackets lead to a balanced word, EXECUTION where one does, OTHER from a slip on."""
        stack: tuple[str, ...] | None = _open(problem.data["prefix"])
        left = problem.data["length"] - len(problem.data["prefix"])
        labels: list[Label] = []
        for token in tokens:
            following = _following(stack, left) if stack is not None else ()
            if not following and stack == ():  # the end token after a balanced word
                labels.append(Label.EXECUTION)
                continue
            right = token in following
            labels.append(Label.OTHER if not right else Label.FORK if len(following) > 1 else Label.EXECUTION)
            stack, left = (_push(stack, token), left - 1) if right and stack is not None else (None, 0)
        return labels

    def traits(self, problem: Problem, text: str) -> dict[str, str | float]:
        """The first bracket written: the nearest thing to a format here."""
        first = text.split()[:1]
        return {"format": {"(": "round", "[": "square"}.get(first[0], "closing") if first else "other"}

    def num_right(self, problem: Problem) -> int:
        """How many completions are right."""
        prefix = problem.data["prefix"]
        return _count(len(_open(prefix)), problem.data["length"] - len(prefix))


@lru_cache(maxsize=4096)
def _count(depth: int, left: int) -> int:
    """Balanced completions of ``left`` brackets from ``depth`` open ones: two choices for each opening."""
    if depth > left or depth < 0:
        return 0
    if left == 0:
        return 1
    return 2 * _count(depth + 1, left - 1) + (_count(depth - 1, left - 1) if depth else 0)


def _open(prefix: tuple[str, ...]) -> tuple[str, ...]:
    stack: tuple[str, ...] = ()
    for word in prefix:
        stack = _push(stack, word)
    return stack


def _push(stack: tuple[str, ...], word: str) -> tuple[str, ...]:
    return (*stack, word) if word in PAIRS else stack[:-1]


def _following(stack: tuple[str, ...], left: int) -> tuple[str, ...]:
    """The brackets from which a balanced word can still be reached."""
    openings = tuple(PAIRS) if _count(len(stack) + 1, left - 1) else ()
    closing = (PAIRS[stack[-1]],) if stack and _count(len(stack) - 1, left - 1) else ()
    return (*openings, *closing) if left else ()


def _uniform(rng: Random, prefix: tuple[str, ...], length: int) -> list[str]:
    """A completion drawn uniformly from all right ones, by counting what each bracket leaves open."""
    stack, words = _open(prefix), list[str]()
    for left in range(length - len(prefix), 0, -1):
        choices = _following(stack, left)
        counts = [_count(len(_push(stack, word)), left - 1) for word in choices]
        words.append(rng.choices(choices, counts)[0])
        stack = _push(stack, words[-1])
    return words
