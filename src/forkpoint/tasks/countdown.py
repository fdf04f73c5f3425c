"""Countdown: reach a target from three numbers with + - *, each number once (the game; TinyZero's RL task).

A completion thinks in tries and ends with a marked answer or with ``stop``::

    4 7 9 target 55 think | try 7 + 4 = 11 , 11 + 9 = 20 no try 9 * 7 = 63 , 63 - 4 = 59 no try ... yes answer 9 * ...

The thinking is written in one of three formats; the answer always in infix::

    infix    9 * 7 = 63 , 63 - 4 = 59
    words    mul 9 7 gives 63 , sub 63 4 gives 59
    postfix  9 7 * 63 , 63 4 - 59

Numbers are 0..99. The larger operand stands first, so that each chain has one spelling per format.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import combinations_with_replacement
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from forkpoint.labels import Label
from forkpoint.tasks._task import Problem, Split, Task, Thinking
from forkpoint.verify import Verdict

OPERATORS = ("+", "-", "*")
WORDS = {"+": "add", "-": "sub", "*": "mul"}
FORMATS = ("infix", "words", "postfix")
LARGEST = 99
"""largest number that has a token"""


class Step(NamedTuple):
    left: int
    operator: str
    right: int
    result: int


Chain = tuple[Step, Step]


def countdown(
    largest_given: int = 10,
    smallest_target: int = 10,
    *,
    format_shares: tuple[float, float, float] = (0.45, 0.35, 0.20),
    right_share: float = 0.5,
    stop_share: float = 0.3,
    max_tries: int = 3,
) -> "Countdown":
    """Three numbers 1..largest_given, target smallest_target..99.

    The last four settings shape demonstrations only: shares of the formats, the chance that a try is a right chain,
    the chance to stop after a failed try, and the most tries one makes.

    >>> task = countdown()
    >>> task.score(task.problem((4, 7, 9), 59), "try 9 7 * 63 , 63 4 - 59 yes answer 9 * 7 = 63 , 63 - 4 = 59").outcome
    'correct'
    """
    return Countdown(largest_given, smallest_target, format_shares, right_share, stop_share, max_tries)


@dataclass(frozen=True)
class Countdown(Task):
    largest_given: int
    smallest_target: int
    format_shares: tuple[float, float, float]
    right_share: float
    stop_share: float
    max_tries: int

    name = "countdown"
    chance = 0.02
    in_process = "splits at words and reads numbers of two digits: linear in the text, nothing is evaluated"
    thinking = Thinking(end="yes answer", again="no try", given_up=MappingProxyType({"stop": "try"}))
    vocabulary = (
        *map(str, range(LARGEST + 1)),
        *(*OPERATORS, *WORDS.values(), "=", "gives", ","),
        *("target", "think", "try", "no", "yes", "stop", "answer"),
    )

    def problem(self, numbers: tuple[int, int, int], target: int) -> Problem:
        given = tuple(sorted(numbers))
        words = " ".join(map(str, given))
        return Problem(f"{words} {target}", f"{words} target {target} think", {"numbers": given, "target": target})

    def read(self, prompt: str) -> Problem:
        words = prompt.split()
        if len(words) != 6 or words[3::2] != ["target", "think"] or not all(map(_is_number, [*words[:3], words[4]])):
            raise ValueError(f"countdown: prompt {prompt!r} is not 'A B C target T think'")
        return self.problem((int(words[0]), int(words[1]), int(words[2])), int(words[4]))

    def problems(self, split: Split, seed: int = 0) -> Iterator[Problem]:
        pool = _pool(self.largest_given, self.smallest_target, split)
        rng = Random(f"{split} {seed}")
        while True:
            for numbers, target in rng.sample(pool, len(pool)):
                yield self.problem(numbers, target)

    def score(self, problem: Problem, text: str) -> Verdict:
        """Reads the part after the one ``answer`` word against a strict grammar; nothing is evaluated."""
        before, found, answer = text.partition(" answer ")
        if not found:
            return Verdict("wrong", "no answer phase")
        if "answer" in before.split():
            return Verdict("wrong", "more than one answer phase")
        steps = [_read_infix(part.split()) for part in answer.split(" , ")]
        if len(steps) != 2 or None in steps:
            return Verdict("wrong", "answer is not two steps 'a op b = c , a op b = c'")
        return _check([step for step in steps if step], problem.data["numbers"], problem.data["target"])

    def answer(self, problem: Problem, text: str) -> str | None:
        """What follows the one ``answer`` word: two chains are two answers, also where both are right."""
        parts = text.split(" answer ")
        return parts[1].strip() or None if len(parts) == 2 else None

    def solution(self, problem: Problem) -> str:
        chain = self._right(problem)[0]
        return f"try {_spell(chain, 'infix')} yes answer {_spell(chain, 'infix')}"

    def demonstrate(self, problem: Problem, rng: Random) -> str:
        style = rng.choices(FORMATS, self.format_shares)[0]
        right = self._right(problem)
        wrong = [chain for chain in _chains(problem.data["numbers"]) if chain not in right]
        words: list[str] = []
        for attempt in range(self.max_tries):
            if attempt and rng.random() < self.stop_share:
                break
            if rng.random() < self.right_share or not wrong:
                chain = rng.choice(right)
                return " ".join([*words, f"try {_spell(chain, style)} yes answer {_spell(chain, 'infix')}"])
            chain = wrong.pop(rng.randrange(len(wrong)))
            words.append(f"try {_spell(chain, style)} no")
        return " ".join([*words, "stop"])

    def labels(self, problem: Problem, tokens: list[str]) -> list[Label]:
        """FORK where two or more tokens continue a legal chain, EXECUTION where exactly one does.

        A failed try can be followed by another, so every legal chain can still end in a right answer. The first
        two tokens of the first try settle the notation (FORMAT); what follows ``no`` is PLANNING; a token after an
        illegal one, up to the next try, is OTHER.
        """
        labels: list[Label] = []
        legal = _continuations(problem.data["numbers"])
        prefix: tuple[str, ...] | None = None
        answering, tries = False, 0
        for index, token in enumerate(tokens):
            previous = tokens[index - 1] if index else ""
            if token in ("try", "stop") or previous == "no":
                labels.append(Label.PLANNING if previous == "no" else Label.EXECUTION)
                tries += token == "try"
                prefix = () if token == "try" else None
            elif answering or token in ("yes", "no", "answer"):
                answering = answering or token == "answer"
                labels.append(Label.EXECUTION)
                prefix = None
            elif prefix is None or token not in legal.get(prefix, ()):
                labels.append(Label.OTHER)
                prefix = None
            else:
                settles = tries == 1 and (not prefix or (len(prefix) == 1 and prefix[0].isdigit()))
                forks = len(legal[prefix]) > 1
                labels.append(Label.FORMAT if settles else Label.FORK if forks else Label.EXECUTION)
                prefix = (*prefix, token)
        return labels

    def traits(self, problem: Problem, text: str) -> dict[str, str | float]:
        """``format`` of the first try (``other`` where it is none of the three) and the number of ``tries``."""
        words = text.split()
        return {"format": _format_of(words[1:3]), "tries": float(words.count("try"))}

    def _right(self, problem: Problem) -> list[Chain]:
        target = problem.data["target"]
        return [chain for chain in _chains(problem.data["numbers"]) if chain[1].result == target]


def _apply(left: int, operator: str, right: int) -> int:
    return left + right if operator == "+" else left - right if operator == "-" else left * right


def _step(one: int, other: int, operator: str) -> Step | None:
    left, right = max(one, other), min(one, other)
    result = _apply(left, operator, right)
    return Step(left, operator, right, result) if result <= LARGEST else None


@lru_cache(maxsize=65536)
def _chains(numbers: tuple[int, int, int]) -> tuple[Chain, ...]:
    """Every legal chain over the three numbers, each once."""
    found: dict[Chain, None] = {}
    for kept in range(3):
        one, other = (numbers[i] for i in range(3) if i != kept)
        for operator in OPERATORS:
            first = _step(one, other, operator)
            for then in OPERATORS if first else ():
                second = _step(first.result, numbers[kept], then) if first else None
                if first and second:
                    found[(first, second)] = None
    return tuple(found)


def _spell(chain: Chain, style: str) -> str:
    if style == "infix":
        return " , ".join(f"{s.left} {s.operator} {s.right} = {s.result}" for s in chain)
    if style == "words":
        return " , ".join(f"{WORDS[s.operator]} {s.left} {s.right} gives {s.result}" for s in chain)
    return " , ".join(f"{s.left} {s.right} {s.operator} {s.result}" for s in chain)


@lru_cache(maxsize=4096)
def _continuations(numbers: tuple[int, int, int]) -> dict[tuple[str, ...], set[str]]:
    """For each prefix of a legal chain, in any format, the tokens that continue one."""
    tree: dict[tuple[str, ...], set[str]] = {}
    for chain in _chains(numbers):
        for style in FORMATS:
            words = _spell(chain, style).split()
            for end, word in enumerate(words):
                tree.setdefault(tuple(words[:end]), set()).add(word)
    return tree


@lru_cache(maxsize=8)
def _pool(largest_given: int, smallest_target: int, split: Split) -> list[tuple[tuple[int, int, int], int]]:
    """Every solvable problem of a split; a tenth of all, chosen by hash, is the test split."""
    pool: list[tuple[tuple[int, int, int], int]] = []
    for numbers in combinations_with_replacement(range(1, largest_given + 1), 3):
        for target in sorted({chain[1].result for chain in _chains(numbers)}):
            in_test = sha256(f"{numbers} {target}".encode()).digest()[0] < 26
            if target >= smallest_target and in_test == (split == "test"):
                pool.append((numbers, target))
    return pool


def _read_infix(words: list[str]) -> Step | None:
    """``a op b = c`` as a step, or None. Numbers are plain decimal without sign or leading zero, at most 2 digits."""
    if len(words) != 5 or words[1] not in OPERATORS or words[3] != "=":
        return None
    numbers = [words[0], words[2], words[4]]
    if any(str(n) != w for n, w in zip([int(w) if _is_number(w) else -1 for w in numbers], numbers, strict=True)):
        return None
    return Step(int(words[0]), words[1], int(words[2]), int(words[4]))


def _is_number(word: str) -> bool:
    # isascii: str.isdigit alone admits other scripts' digits and superscripts
    return word.isascii() and word.isdigit() and len(word) <= 2


def _check(steps: list[Step], numbers: tuple[int, int, int], target: int) -> Verdict:
    pool = list(numbers)
    for step in steps:
        if _apply(step.left, step.operator, step.right) != step.result:
            return Verdict("wrong", f"false step {step.left} {step.operator} {step.right} = {step.result}")
        for operand in (step.left, step.right):
            if operand not in pool:
                return Verdict("wrong", f"{operand} is not at hand")
            pool.remove(operand)
        pool.append(step.result)
    return Verdict("correct") if pool == [target] else Verdict("wrong", f"ends at {pool[0]}, not at {target}")


def _format_of(words: list[str]) -> str:
    if not words:
        return "other"
    if words[0] in WORDS.values():
        return "words"
    if len(words) > 1 and _is_number(words[0]):
        return "infix" if words[1] in OPERATORS else "postfix" if _is_number(words[1]) else "other"
    return "other"
