"""A child of a worker's supervisor: a fork that gives up what ``_confine`` lists, reads text, and can be killed."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from forkpoint.verify._confine import confine, limit_processor
from forkpoint.verify._frames import LARGEST, Broken, receive, send
from forkpoint.verify._verdict import Verdict, raised, stated

LONGEST_OUTPUT = 64 * 2**10
"""characters that a run of model code may hand to the scorer"""
START_SECONDS = 10.0

Answer = dict[str, Any]


class Child:
    """A confined fork that answers requests one by one."""

    def __init__(
        self, work: Callable[..., Any], order: dict[str, Any], *, namespaces: bool, closes: socket.socket
    ) -> None:
        self.ours, theirs = socket.socketpair()
        self.status: int | None = None
        self.peak_mb = 0.0
        self.folder = tempfile.mkdtemp(dir=order["folder"])
        self.pid = os.fork()
        if self.pid == 0:
            try:
                closes.close()
                self.ours.close()
                _work(theirs, work, order | {"folder": self.folder}, namespaces)
            finally:
                os._exit(0)
        theirs.close()
        try:
            ready = receive(self.ours, deadline=time.monotonic() + START_SECONDS)
        except (Broken, TimeoutError):
            self.end()
            raise RuntimeError(f"a child that scores could not start ({self._how_it_ended()})") from None
        if "failed" in ready:
            self.end()
            raise RuntimeError(ready["failed"])
        self.isolation = ready["ready"]

    def ask(self, request: dict[str, Any], *, deadline: float) -> Answer:
        """Its answer, or a "none" with the reason; ``dead`` where it must not be asked again."""
        # of 128 random bits: bytes that model code wrote earlier, or blindly, answer nothing
        token = secrets.token_hex(16)
        try:
            send(self.ours, {"id": token, **request}, deadline=deadline)
            answer = receive(self.ours, deadline=deadline)
        except TimeoutError:
            return _dead("out of time")
        except Broken:
            return _dead(self._how_it_ended())
        if answer.pop("id", None) != token:
            return _dead("wrote bytes that are no answer")
        return answer

    def end(self) -> float:
        self.ours.close()
        if self.status is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            self._wait(0)
        with contextlib.suppress(OSError, RecursionError):  # it may hold a tower of folders
            shutil.rmtree(self.folder)
        return self.peak_mb

    def _wait(self, flags: int) -> None:
        with contextlib.suppress(ChildProcessError):
            pid, status, used = os.wait4(self.pid, flags)
            if pid:
                self.status = status
                # kilobytes, but bytes on macOS
                self.peak_mb = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

    def _how_it_ended(self) -> str:
        patience = time.monotonic() + 0.05
        while self.status is None and time.monotonic() < patience:
            self._wait(os.WNOHANG)
            time.sleep(0.002)
        if self.status is None:
            return "stopped answering"
        code = os.waitstatus_to_exitcode(self.status)
        if code == -signal.SIGXCPU:
            return "out of time"
        return f"crashed (signal {-code})" if code < 0 else f"exited (code {code})"


def _dead(reason: str) -> Answer:
    return {"outcome": "none", "reason": reason, "dead": True}


def sweep(*, namespaces: bool) -> None:
    """Kill what a child left behind, however it hid, until none is left: the namespace, else what was adopted."""
    while True:
        for pid in [-1] if namespaces and os.getpid() == 1 else _adopted():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _adopted() -> list[int]:
    """This process's children, which all orphans of theirs become (Linux)."""
    with contextlib.suppress(OSError), open("/proc/thread-self/children") as file:
        return [int(pid) for pid in file.read().split()]
    return []


def _work(pool: socket.socket, work: Callable[..., Any], order: dict[str, Any], namespaces: bool) -> None:
    """The child: everything below here may run model text."""
    limits = order["limits"]
    try:
        send(pool, {"ready": confine(order["folder"], limits, namespaces=namespaces)})
    except (OSError, ValueError) as error:
        send(pool, {"failed": str(error)})
        return
    while True:
        request = receive(pool, largest=LARGEST)
        limit_processor(limits["seconds"])
        answer = judged(work, request) if "about" in request else ran(work, request)
        send(pool, {"id": request["id"], **answer})


def judged(score: Callable[..., Any], request: dict[str, Any]) -> Answer:
    try:
        verdict = score(request["about"], request["text"])
    except MemoryError:
        return {"outcome": "none", "reason": "out of memory"}
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a scorer's, too
        return {"outcome": "none", "reason": raised(error)}
    if type(verdict) is not Verdict:
        return {"outcome": "none", "reason": f"the scorer returned {type(verdict).__name__}, not a Verdict"}
    checked = stated(verdict.outcome, verdict.reason)
    return {"outcome": checked.outcome, "reason": checked.reason}


def ran(run: Callable[..., Any], request: dict[str, Any]) -> Answer:
    try:
        output = run(request["text"])
    except MemoryError:
        return {"reason": "out of memory"}
    except BaseException as error:
        return {"reason": raised(error)}
    if type(output) is not str:
        return {"reason": f"the run returned {type(output).__name__}, not text"}
    return {"output": output[:LONGEST_OUTPUT]}
