"""Hostile text against the pool: a typed verdict in bounded time and memory, no trace left, and the next pair is right.

What is called an attack here would kill, fill or read this machine if it were not held, so each way of running them is
probed with harmless signals first.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forkpoint.verify import Limits, Pool, Verdict
from tests.conftest import counts
from tests.verify.attacks import CODE, INFORMED, MATH

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines model code")

LIMITS = Limits(seconds=1.0, memory_mb=256)
REPEATS = counts(1, 20)
RUN, JUDGE, EQUALS = (f"tests.verify.scorers:{name}" for name in ("run_python", "executes", "equals"))
GOLD = "what only the scorer is told"
HONEST = f"answer = {GOLD!r}"
PROBE = """
import os
for pid in (os.getppid(), 1, -1):
    try:
        os.kill(pid, 0)
        raise SystemExit(f"signals reach {pid}")
    except PermissionError:
        pass
try:
    os.fork()
    raise SystemExit("it can fork")
except PermissionError:
    answer = "held"
"""
WAYS = {
    "run in a process of its own": dict(scorer=EQUALS, run=RUN),
    "run by the scorer itself": dict(scorer=JUDGE, recycle_after=1),
    "run where namespaces are forbidden": dict(scorer=EQUALS, run=RUN, unconfined=True),
}
NOT_HELD_WITHOUT_NAMESPACES = {"changes modes", "fills the disk", "makes many files"}


@dataclass
class Outcome:
    way: str
    attacks: dict[str, list[Verdict]] = field(default_factory=dict)
    honest: dict[str, list[Verdict]] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    slowest: float = 0.0
    late: float = 0.0
    """how late the busy machine woke a thread that slept, at worst"""
    peak_mb: float = 0.0
    knocks: int = 0


@pytest.fixture(scope="module", params=WAYS)
def outcome(request, tmp_path_factory) -> Iterator[Outcome]:
    """All attacks, each followed by an honest pair, on four workers."""
    place = tmp_path_factory.mktemp("canary")
    (place / "kept").write_text("mine")
    before = _state(place)
    payloads = [name for name in CODE if "namespaces" not in request.param or name not in NOT_HELD_WITHOUT_NAMESPACES]
    found = Outcome(request.param)
    pools = Pool(**WAYS[request.param], workers=4, limits=LIMITS)
    with _listener() as (listener, port), _secret(), _lateness() as late, pools as pool:
        pool._order["namespaces"] = "namespaces" not in request.param
        assert pool.score([("held", PROBE)] * 4) == [Verdict("correct")] * 4
        texts = [CODE[name].replace("CANARY", str(place)).replace("PORT", str(port)) for name in payloads]
        for _ in range(REPEATS):
            verdicts = pool.score([(GOLD, text) for attack in texts for text in (attack, HONEST)])
            for i, name in enumerate(payloads):
                found.attacks.setdefault(name, []).append(verdicts[2 * i])
                found.honest.setdefault(name, []).append(verdicts[2 * i + 1])
        found.slowest, found.peak_mb, found.knocks = pool.slowest, pool.peak_mb, _knocks(listener)
        found.late = max(late)
    found.changed = [name for name, was in before.items() if _state(place).get(name) != was]
    print(f"\n{request.param}: slowest {found.slowest:.3f} s (machine {found.late:.3f} s late), {found.peak_mb:.0f} MB")
    yield found


@contextlib.contextmanager
def _lateness():
    """Seconds by which a thread that slept was woken too late, one after the other: what a shared machine adds."""
    late, stop = [0.0], threading.Event()

    def sleep():
        while not stop.is_set():
            due = time.monotonic() + 0.02
            time.sleep(0.02)
            late.append(time.monotonic() - due)

    thread = threading.Thread(target=sleep)
    thread.start()
    try:
        yield late
    finally:
        stop.set()
        thread.join()


@pytest.mark.usefixtures("no_orphan")
def test_no_attack_is_correct_and_each_gets_a_typed_verdict(outcome):
    for name, verdicts in outcome.attacks.items():
        possible = ("correct", "wrong", "none") if "itself" in outcome.way and name in INFORMED else ("wrong", "none")
        for verdict in verdicts:
            assert type(verdict) is Verdict and verdict.outcome in possible, (name, verdict)
            assert verdict.reason.isprintable() and len(verdict.reason) <= 200, (name, verdict)


def test_a_scorer_that_runs_code_in_its_own_process_is_lied_to(outcome):
    """The negative control for ``run``: the same text does win where the judge shares its process."""
    fooled = {name for name, verdicts in outcome.attacks.items() if verdicts[0].correct}
    assert fooled >= {"reads the answer off the stack"} if "itself" in outcome.way else not fooled


def test_the_honest_pair_after_each_attack_is_right(outcome):
    assert {n: v for n, v in outcome.honest.items() if any(not one.correct for one in v)} == {}


def test_every_verdict_came_within_its_limit_and_half_a_second(outcome):
    """As the machine allows: a verdict takes a chain of three wake-ups, of supervisor, worker and caller."""
    assert outcome.slowest <= LIMITS.seconds + 0.5 + 3 * outcome.late


def test_no_process_held_more_memory_than_it_may(outcome):
    assert 0 < outcome.peak_mb <= LIMITS.memory_mb


def test_files_outside_and_the_network_are_untouched(outcome):
    assert outcome.changed == [] and outcome.knocks == 0


def test_attacks_end_as_what_they_are(outcome):
    """The verdicts tell an honest story: what hangs is out of time, what takes memory out of memory, and so on."""
    told = {name: verdicts[0].reason for name, verdicts in outcome.attacks.items()}
    for name in ("sleeps", "spins", "spins in C", "catches everything", "floods stdout", "ignores signals"):
        assert told[name] == "out of time", name
    for name in ("takes memory", "makes long text"):
        assert told[name] == "out of memory", name
    assert told["takes memory by bits"] in ("out of memory", "out of time")  # on a busy machine
    assert told["segfaults"] == "crashed (signal 11)"
    assert told["exits at once"] == "exited (code 0)"
    assert told["exits"].startswith("raised SystemExit")
    for name in ("connects", "forks without end", "kills everyone", "leaves a daemon", "writes elsewhere"):
        assert "Error" in told[name], name


HARM = ("writes elsewhere", "walks up", "removes", "changes modes", "links", "removes a tree")


@pytest.mark.parametrize("name", HARM)
def test_the_same_text_does_harm_where_nothing_holds_it(name, tmp_path):
    """The negative control: these payloads are live."""
    place = tmp_path / "canary"
    place.mkdir()
    (place / "kept").write_text("mine")
    before = _state(place)
    code = CODE[name].replace("CANARY", str(place))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL, timeout=30)
    assert _state(place) != before


def test_the_network_and_the_environment_are_open_where_nothing_holds_them():
    with _listener() as (listener, port), _secret():
        code = CODE["connects"].replace("PORT", str(port)) + "\n" + CODE["reads the environment"]
        done = subprocess.run([sys.executable, "-c", code + "\nprint(answer)"], capture_output=True, text=True)
        assert done.stdout.strip() == "secret" and _knocks(listener) == 1


@pytest.mark.usefixtures("no_orphan")
def test_no_mathematics_is_taken_for_the_answer_and_all_end_in_time():
    pytest.importorskip("math_verify")
    pools = Pool("forkpoint.verify.math_answer:math_answer", workers=4, limits=Limits(seconds=2.0))
    with _lateness() as late, pools as pool:
        for _ in range(REPEATS):
            verdicts = dict(zip(MATH, pool.score([("42", text) for text in MATH.values()]), strict=True))
            assert {n: v for n, v in verdicts.items() if v.correct} == {}
            assert all(v.outcome == "wrong" or v.reason in ("out of time", "out of memory") for v in verdicts.values())
            honest = [r"so \boxed{42}", r"\boxed{84/2}", r"\boxed{x = 42}"]
            assert all(v.correct for v in pool.score([("42", text) for text in honest]))
        assert pool.slowest <= 2.5 + 3 * max(late)


def test_there_are_enough_attacks():
    assert len(CODE) >= 60 and len(MATH) >= 14


def _state(place: Path) -> dict[str, tuple[int, str]]:
    files = [place, *sorted(place.rglob("*"))] if place.exists() else []
    return {
        path.relative_to(place.parent).as_posix(): (path.stat().st_mode, path.read_text() if path.is_file() else "")
        for path in files
    } | {"entries": (len(files), "")}


@contextlib.contextmanager
def _listener() -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener, listener.getsockname()[1]


def _knocks(listener: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


@contextlib.contextmanager
def _secret() -> Iterator[None]:
    os.environ["FORKPOINT_SECRET"] = "secret"
    try:
        yield
    finally:
        del os.environ["FORKPOINT_SECRET"]
