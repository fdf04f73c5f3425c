"""How a command ends: errors and signals as one line and an exit code.

0 done, 1 the run failed, 2 usage or config, 3 a gate failed or a forecast was refused, 4 data damaged or incomplete,
128 + n stopped by signal n.
"""

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from forkpoint import terminal

DONE, FAILED, USAGE, GATE, DAMAGED = range(5)
CODES = (
    ("forkpoint.record", "AnotherConfig", USAGE),
    ("forkpoint.record", "RecordError", DAMAGED),
    ("forkpoint.forecasts", "Refusal", GATE),
)


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end; KeyboardInterrupt, so that a run's record closes as stopped."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(command: Callable[[], int], *, debug: bool = False) -> int:
    """Call ``command`` and return its exit code, or the one its error stands for.

    >>> run(lambda: DONE)
    0
    """
    try:
        with _termination_as_exception():
            code = command()
            sys.stdout.flush()  # or a closed pipe is noticed only after the last chance to handle it
            return code
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) and _is_ours(error):  # the reader of a print, such as head, has left
            sys.stdout = None  # type: ignore[assignment]  # or the interpreter complains again when it flushes
            return 128 + 13  # SIGPIPE, which Windows does not name
        if debug:
            traceback.print_exception(error)
        terminal.note(f"forkpoint: {_explained(error)}")
        return _code(error)


@contextlib.contextmanager
def _termination_as_exception() -> Iterator[None]:
    """SIGTERM raises, so that a run's record closes as stopped; schedulers send it before they kill."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _explained(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"stopped by {str(error) or 'SIGINT'}; what was recorded is kept"
    if isinstance(error, ModuleNotFoundError) and error.name:
        from forkpoint.doctor import remedy_for

        return f"error: this needs {error.name}, which is not installed; {remedy_for(error.name)}"
    told = isinstance(error, ValueError) or type(error).__module__.startswith("forkpoint")
    return f"error: {error}" if told and str(error) else f"error: {type(error).__name__}: {error}; --debug shows where"


def _code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "number", int(signal.SIGINT))
    if isinstance(error, ModuleNotFoundError):
        return USAGE
    for module, name, code in CODES:
        # only a module that is loaded can have raised it; importing here could fail and hide the error at hand
        if isinstance(error, getattr(sys.modules.get(module), name, ())):
            return code
    # a ValueError of ours tells the user of a mistake; one from a library below is a run that broke
    return USAGE if isinstance(error, ValueError) and _is_ours(error) else FAILED


def _is_ours(error: BaseException) -> bool:
    """Whether forkpoint itself raised it."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith("forkpoint")
