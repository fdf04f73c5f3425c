"""The pool's side of one worker: start it, ask it, kill it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from forkpoint.verify._frames import Broken, receive, send
from forkpoint.verify._verdict import Verdict, none, stated

GRACE = 0.4
"""seconds that a supervisor may take beyond a limit before its worker is killed as a whole"""
START_SECONDS = 120.0
"""for the imports of a scorer"""
KEPT = ("LD_LIBRARY_PATH", "PYTHONHOME")
"""what an interpreter may need of the environment; nothing else of it is passed on"""
BOOT = "import sys; sys.path[:] = sys.argv[2:]; from forkpoint.verify._worker import main; main(int(sys.argv[1]))"


class PoolError(RuntimeError):
    """The pool itself cannot work: the scorer cannot be loaded, or this machine cannot confine what it would run."""


class Worker:
    """One at a time: what it does not answer in time costs it its life, and the next question starts another."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket | None = None
        self.folder = ""
        self.asked, self.took, self.peak_mb = 0, 0.0, 0.0

    def start(self) -> dict[str, bool]:
        """What is in force. Raises PoolError with one line where the scorer cannot be loaded."""
        self.stop()
        if os.name != "posix":
            raise PoolError("verify: workers need Linux or macOS; score in-process tasks only here")
        self.folder = tempfile.mkdtemp(prefix="forkpoint-verify-")
        ours, theirs = socket.socketpair()
        paths = [path or os.getcwd() for path in sys.path] + [str(Path(__file__).parents[2])]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-B", "-c", BOOT, str(theirs.fileno()), *paths],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd=self.folder,
                env=_environment(self.folder),
            )
        self.connection = ours
        try:
            send(ours, self.order | {"folder": self.folder})
            said: dict[str, Any] = receive(ours, deadline=time.monotonic() + START_SECONDS)
        except (Broken, TimeoutError) as error:
            said = {"failed": str(error) or "it ended while starting"}
        if "ready" not in said:
            self.stop()
            raise PoolError(f"verify: no worker for {self.order['scorer']}: {said.get('failed')}")
        return said["ready"]

    def ask(self, about: Any, text: str) -> Verdict:
        if self.connection is None:
            try:
                self.start()
            except (PoolError, OSError) as error:
                return none(str(error))
        connection = self.connection
        if connection is None:  # closed by another thread since
            return none("its pool was closed")
        self.asked += 1
        began = time.monotonic()
        deadline = began + self.order["limits"]["seconds"] + GRACE
        try:
            send(connection, {"id": self.asked, "about": about, "text": text}, deadline=deadline)
            answer = receive(connection, deadline=deadline)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"Pool.score: a pair's first part cannot be sent as JSON: {error}") from None
        except TimeoutError:
            answer = {"id": self.asked, "outcome": "none", "reason": "out of time"}
            self.stop()
        except Broken:
            answer = {"id": self.asked, "outcome": "none", "reason": "its worker died"}
            self.stop()
        self.took, self.peak_mb = time.monotonic() - began, float(answer.get("peak_mb", 0.0))
        if answer.get("id") != self.asked:
            self.stop()
            return none("its worker answered another question")
        return stated(answer.get("outcome"), answer.get("reason"))

    def stop(self) -> None:
        """End the worker. At the end of its connection it ends in order; else the guard is killed, and all with it."""
        connection, self.connection = self.connection, None
        process, self.process = self.process, None
        folder, self.folder = self.folder, ""
        if connection is not None:
            # closing alone would leave another thread waiting for an answer until its deadline
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        if process is not None:
            try:
                process.wait(0.3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if folder:
            with contextlib.suppress(OSError, RecursionError):
                shutil.rmtree(folder)


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    ours = {"TMPDIR": folder, "PATH": "", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return kept | ours | one_thread | {"FORKPOINT_VERIFY": str(os.getpid())}
