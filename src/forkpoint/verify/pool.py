"""A pool of workers that score (about, text) pairs, each in bounded time and memory.

    with Pool("package.module:function") as pool:
        verdicts = pool.score([("42", "so it is 42"), ...])

The scorer is ``function(about, text) -> Verdict``, found by name in a fresh interpreter; ``about`` is anything JSON can
hold. Whatever a scorer does, every pair gets a verdict and no call raises: a late or dead one gives *none* with the
reason, for its own pair alone.

Where model text is *code*, give ``run="package.module:function"``: ``run(text) -> str`` runs it in a process that is
used once, and the scorer judges the output in another that never held the code. ``run`` is not told ``about``, so code
cannot look up or forge its verdict; a scorer that executed text itself could be lied to from inside. A scorer that only
parses keeps its process for ``recycle_after`` pairs.
"""

import json
import os
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from forkpoint.verify._limits import Limits, size
from forkpoint.verify._process import PoolError, Worker
from forkpoint.verify._verdict import Verdict

Scorer = str | Callable[..., Any]


class Pool:
    """Workers for one scorer, started when first needed.

    Args:
        scorer: ``"module:function"``, or a function that has such a name.
        settings: where given, ``scorer`` makes the function: ``scorer(**settings)``. JSON values.
        run: ``"module:function"`` that runs model code, ``run(text) -> str``; the scorer then reads the output.
            Refused with PoolError on a machine that cannot confine it, unless ``unconfined=True``.
        workers: how many pairs are scored at once.
        limits: what one pair may use, in ``run`` and scorer together.
        recycle_after: pairs that one process scores before the next takes over.

    Raises ValueError for a scorer that no other process can find, and PoolError where it cannot be loaded there.

    >>> with Pool("forkpoint.verify.pool:_example", workers=1) as pool:
    ...     [verdict.outcome for verdict in pool.score([("42", "42"), ("42", "41")])]
    ['correct', 'wrong']
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        settings: dict[str, Any] | None = None,
        run: Scorer | None = None,
        workers: int = 2,
        limits: Limits | None = None,
        recycle_after: int = 1000,
        unconfined: bool = False,
    ) -> None:
        if not all(type(count) is int and count > 0 for count in (workers, recycle_after)):
            raise ValueError(f"Pool: workers = {workers} and recycle_after = {recycle_after} must be whole and above 0")
        try:
            json.dumps(settings)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"Pool: settings are no JSON values: {error}") from None
        self.limits = limits or Limits()
        self.slowest = 0.0
        """longest wall time that a pair took, in seconds"""
        self.peak_mb = 0.0
        """largest resident memory of a process that had to be ended"""
        self._may_be_unconfined = unconfined
        order = {"scorer": named(scorer), "settings": settings, "run": named(run) if run is not None else ""}
        order |= {"recycle_after": recycle_after, "limits": asdict(self.limits), "namespaces": True}
        self._order, self._count = order, workers
        self._begin()

    def _begin(self) -> None:
        """Workers of this process."""
        self._owner = os.getpid()
        self._workers = [Worker(self._order) for _ in range(self._count)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._first = threading.Lock()
        self._isolation: dict[str, bool] | None = None
        self._end = weakref.finalize(self, _stop, self._workers, self._owner)

    @property
    def isolation(self) -> dict[str, bool]:
        """What holds on this machine, such as ``{"no network": True, ...}``; starts a worker to find out."""
        if self._owner != os.getpid():
            # a fork of the process that made the pool: over a shared connection one would get the other's verdicts
            self._begin()
        with self._first:
            if self._isolation is None:
                self._isolation = self._workers[0].start()
                missing = ", ".join(name for name, held in self._isolation.items() if not held)
                if self._workers[0].order["run"] and missing and not self._may_be_unconfined:
                    self.close()
                    self._isolation = None
                    raise PoolError(
                        f"verify: model code cannot be confined on this machine (missing: {missing}); run where Linux "
                        "namespaces are allowed, or give unconfined=True"
                    )
            return dict(self._isolation)

    def score(self, pairs: Sequence[tuple[Any, str]]) -> list[Verdict]:
        """One verdict per pair, in order. May be called from several threads at once."""
        if not pairs:
            return []
        _ = self.isolation
        with ThreadPoolExecutor(len(self._workers), thread_name_prefix="forkpoint-verify") as threads:
            return list(threads.map(self._one, pairs))

    def close(self) -> None:
        """End the workers and all they started. The pool starts them again when it is used again."""
        _stop(self._workers, self._owner)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _one(self, pair: tuple[Any, str]) -> Verdict:
        about, text = pair
        if size(text) > self.limits.max_bytes:
            return Verdict("wrong", f"longer than {self.limits.max_bytes} bytes")
        worker = self._idle.get()
        try:
            verdict = worker.ask(about, text)
            self.slowest = max(self.slowest, worker.took)
            self.peak_mb = max(self.peak_mb, worker.peak_mb)
            return verdict
        finally:
            self._idle.put(worker)


def named(scorer: Scorer) -> str:
    """``module:function`` of a scorer. Raises ValueError where another process could not find it by name.

    >>> named(named)
    'forkpoint.verify.pool:named'
    """
    if isinstance(scorer, str):
        if not all(scorer.partition(":")):
            raise ValueError(f"Pool: {scorer!r} is not 'module:function'")
        return scorer
    module, name = getattr(scorer, "__module__", "__main__"), getattr(scorer, "__qualname__", "<nameless>")
    if module == "__main__" or "<" in name:
        raise ValueError(f"Pool: another process cannot import {name!r} of {module}; define it at the top of a module")
    return f"{module}:{name}"


def _stop(workers: list[Worker], owner: int) -> None:
    if os.getpid() == owner:  # a fork of this process has copies of our handles; the workers are not its to end
        for worker in workers:
            worker.stop()


def _example(gold: str, text: str) -> Verdict:
    return Verdict("correct" if text == gold else "wrong")
