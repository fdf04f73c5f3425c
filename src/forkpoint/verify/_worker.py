"""A worker, as three processes of one interpreter: a guard, a supervisor, and children that read model text.

    pool -- guard -- supervisor -- child, child, ...

The *guard* waits, so that the others can have namespaces of their own. The *supervisor* loads the scorer and never
touches model text; it forks a *child* that gives up what ``_confine`` lists, and scores. A child that is late, crashes
or misbehaves is killed with all it started, and the next is forked in milliseconds, however long the scorer's imports
took. A child that ran model code is never used again. The supervisor is the first process of its namespace: when it
dies, all in it die, and it dies with the guard.
"""

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from forkpoint.verify._child import LONGEST_OUTPUT, Answer, Child, sweep
from forkpoint.verify._confine import become_supervisor, own_namespaces
from forkpoint.verify._frames import LARGEST, Broken, receive, send
from forkpoint.verify._verdict import raised, stated


def main(descriptor: int) -> NoReturn:
    """Be the guard of the worker that speaks over ``descriptor``."""
    parent = os.getppid()
    pool = socket.socket(fileno=descriptor)
    order = receive(pool, largest=LARGEST)
    namespaces = order["namespaces"] and own_namespaces()
    supervisor = os.fork()
    if supervisor == 0:
        with contextlib.suppress(Broken, KeyboardInterrupt):
            become_supervisor(namespaces=namespaces)
            Supervisor(pool, order, namespaces=namespaces).serve()
        os._exit(0)
    pool.close()
    while os.waitpid(supervisor, os.WNOHANG)[0] == 0:
        if os.getppid() != parent:  # the pool's process died: the end of its connection may live on in a fork of it
            os.kill(supervisor, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(order["folder"], ignore_errors=True)
    os._exit(0)


class Supervisor:
    """Takes requests in order, has children answer them, and ends children that do not. One child lives at a time."""

    def __init__(self, pool: socket.socket, order: dict[str, Any], *, namespaces: bool) -> None:
        self.pool, self.order, self.namespaces = pool, order, namespaces
        self.judge: Child | None = None
        self.judged = 0

    def serve(self) -> None:
        try:
            self.score = load(self.order["scorer"], self.order["settings"])
            self.run = load(self.order["run"], None) if self.order["run"] else None
            self._new_judge()
        except BaseException as error:
            send(self.pool, {"failed": raised(error)})
            return
        assert self.judge is not None
        send(self.pool, {"ready": self.judge.isolation})
        try:
            while True:
                request = receive(self.pool, largest=LARGEST)
                send(self.pool, {"id": request["id"], **self._answer(request)})
        finally:
            self._end(self.judge)

    def _answer(self, request: dict[str, Any]) -> Answer:
        deadline, peak = time.monotonic() + self.order["limits"]["seconds"], 0.0
        text = request["text"]
        if self.run is not None:
            self._end(self.judge)
            runner = self._child(self.run)
            answer = runner.ask({"text": text}, deadline=deadline)
            peak = self._end(runner)
            # the runner is model code by now, and may have said anything
            text = answer.get("output")
            if type(text) is not str:
                return {"outcome": "none", "reason": stated("none", answer.get("reason")).reason, "peak_mb": peak}
            text = text[:LONGEST_OUTPUT]
        if self.judge is None or self.judged >= self.order["recycle_after"]:
            self._new_judge()
        assert self.judge is not None
        self.judged += 1
        answer = self.judge.ask({"about": request["about"], "text": text}, deadline=deadline)
        if answer.get("dead"):
            peak = max(peak, self._end(self.judge))
        verdict = stated(answer.get("outcome"), answer.get("reason"))
        return {"outcome": verdict.outcome, "reason": verdict.reason, "peak_mb": peak}

    def _new_judge(self) -> None:
        self._end(self.judge)
        self.judge, self.judged = self._child(self.score), 0

    def _child(self, work: Callable[..., Any]) -> "Child":
        return Child(work, self.order, namespaces=self.namespaces, closes=self.pool)

    def _end(self, child: "Child | None") -> float:
        """Kill a child and whatever it left behind; its peak memory in MB."""
        if child is None:
            return 0.0
        if child is self.judge:
            self.judge = None
        peak = child.end()
        sweep(namespaces=self.namespaces)
        return peak


def load(name: str, settings: dict[str, Any] | None) -> Callable[..., Any]:
    """The function ``module:name``, or with settings what that function makes of them."""
    module, _, attributes = name.partition(":")
    found: Any = import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found if settings is None else found(**settings)
