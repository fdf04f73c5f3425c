"""Scorers for the tests, found by name in worker processes: good, hanging, lying, and one that runs what it reads."""

import os
import socket
import time
from pathlib import Path
from typing import Any
from zlib import crc32

from forkpoint.tasks import Problem
from forkpoint.tasks.countdown import Countdown
from forkpoint.verify import Limits, Verdict


def equals(gold: str, text: str) -> Verdict:
    return Verdict("correct" if text == gold else "wrong")


def echoes(about: Any, text: str) -> Verdict:
    """Correct for equal texts; else the reason shows what arrived."""
    return Verdict("correct") if about == text else Verdict("wrong", repr(about))


def run_python(text: str) -> str:
    """What model code leaves in ``answer``; the pool runs this in a process used once."""
    names: dict[str, Any] = {}
    exec(text, names)
    return str(names.get("answer", ""))


def executes(gold: str, text: str) -> Verdict:
    """A scorer as it must not be: it runs model code in the process that judges."""
    return equals(gold, run_python(text))


def behaves(about: Any, text: str) -> Any:
    """Does what the text names."""
    actions = {
        "hang": lambda: time.sleep(1e6),
        "die": lambda: os._exit(3),
        "number": lambda: 1,
        "verdict of nonsense": lambda: Verdict("perfect"),  # type: ignore[arg-type]
        "reason of nonsense": lambda: Verdict("wrong", 7),  # type: ignore[arg-type]
        "long reason": lambda: Verdict("wrong", "\x1b" * 10**6),
        "raise": lambda: {}["no\nsuch\x1bkey"],
        "memory": lambda: bytearray(10**10),
        "pid": lambda: Verdict("wrong", str(os.getpid())),
        "about": lambda: Verdict("wrong", repr(about)),
        "folder": lambda: Verdict("wrong", repr(sorted(os.listdir(".")))),
        "write": lambda: Verdict("wrong", str(Path("mark").write_text("x"))),
        "hash": lambda: Verdict("wrong", str(hash("text"))),
        "socket": lambda: socket.socket(),
    }
    return actions[text]()


class SometimesHangs(Countdown):
    """Countdown whose score never ends on about a third of texts, and on all texts of about a fourth of problems."""

    in_process = ""
    limits = Limits(seconds=0.2)

    def hangs(self, prompt: str, text: str) -> bool:
        return crc32(prompt.encode()) % 4 == 0 or crc32(text.encode()) % 3 == 0

    def score(self, problem: Problem, text: str) -> Verdict:
        while self.hangs(problem.prompt, text):
            time.sleep(1)
        return super().score(problem, text)


def maker(offset: int) -> Any:
    return lambda about, text: Verdict("correct" if int(text) == about + offset else "wrong")


def needs_memory() -> Any:
    held = bytearray(10**9)
    return lambda about, text: Verdict("correct", str(len(held)))
