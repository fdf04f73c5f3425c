"""The one writer of a run."""

import operator
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat, SupportsIndex

from forkpoint.record._begin import identity, lay_out
from forkpoint.record._lock import Lock
from forkpoint.record._metrics import MOST_STEPS
from forkpoint.record._reopen import reopen
from forkpoint.record._replay import Replay
from forkpoint.record._seal import key_of
from forkpoint.record._store import Standing, Store
from forkpoint.record._tolerant import TolerantStore
from forkpoint.record.schema import KINDS, rollout_table

FINAL_STATES = ("done", "failed", "stopped")
RESERVED = ("kind", "step", "time", "crc", "n", "attempt")


class RunWriter:
    """Writes one run; a context manager that records how it ended: done, failed, or stopped (Ctrl-C, SystemExit).

    What a call has returned from survives a killed process, and a power cut too where ``sync`` is left on. A disk that
    cannot be written does not stop the caller unless ``strict``: the first failure warns, ``failures`` counts them, and
    what could not be written waits in memory, up to 64 MiB, for the next call.

    >>> import tempfile
    >>> from forkpoint.record import open_run
    >>> path = Path(tempfile.mkdtemp()) / "grpo-0"
    >>> grpo = {"name": "grpo", "settings": {}, "intervenes": False}
    >>> with RunWriter.create(path, name="plain", config={}, method=grpo, task="countdown", seed=0,
    ...                       definitions={}) as writer:
    ...     writer.metrics("train", 1, {"reward": 0.5})
    >>> open_run(path).column("reward"), open_run(path).status["state"]
    ((array([1]), array([0.5])), 'done')
    """

    def __init__(self, store: Store, lock: Lock, replay: Replay, *, strict: bool, step: int = 0) -> None:
        """For ``create`` and ``resume``."""
        self.path, self._store, self._lock, self._replay = store.path, TolerantStore(store, strict=strict), lock, replay
        self._last_step: dict[str, int] = dict.fromkeys(KINDS, step)
        self._open = True

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        name: str,
        config: Mapping[str, Any],
        method: Mapping[str, Any],
        task: str,
        seed: int,
        definitions: Mapping[str, Any],
        part_every: int = 20,
        sync: bool = True,
        strict: bool = False,
        keep: int | None = None,
    ) -> "RunWriter":
        """Begin a run in a folder that holds none; other files may be there.

        config       the resolved settings; non-finite numbers are stored as "nan", "inf", "-inf"
        method       ``name``, ``settings`` and ``intervenes``: whether it acts on entropy on purpose
        definitions  metric key -> mapping or dataclass that says what the number means
        part_every   steps per Parquet part, at least 1
        sync         fsync each append; False is faster and may lose the newest rows in a power cut
        strict       raise OSError where the disk cannot be written
        keep         bytes of Parquet parts to keep: the oldest are dropped, the newest stays; None keeps all

        Raises RecordError where a run is already there or is being written, ValueError for settings that cannot be
        stored.
        """
        _check_settings(part_every, keep)
        if missing := [key for key in ("name", "settings", "intervenes") if key not in method]:
            raise ValueError(f"method lacks {', '.join(missing)}; give name, settings and intervenes")
        about = {"name": name, "config": config, "method": method, "task": task, "seed": seed}
        meanings = {key: _mapping(value) for key, value in definitions.items()}
        header = {**identity(), **about, "definitions": meanings}
        lock = lay_out(Path(path), header)
        store = Store(Path(path), Standing(key_of(header["run_id"])), part_every=part_every, sync=sync, keep=keep)
        return cls(store, lock, Replay(), strict=strict)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        step: SupportsIndex,
        *,
        config: Mapping[str, Any] | None = None,
        ignore: Collection[str] = (),
        part_every: int = 20,
        sync: bool = True,
        strict: bool = False,
        keep: int | None = None,
    ) -> "RunWriter":
        """Continue a run that a killed or stopped writer left, from the checkpoint of optimizer step ``step``.

        config  the settings of the resumed run; refused where they differ from the recorded ones
        ignore  settings that may differ, by dotted name; a name stands for all below it

        What was recorded past ``step`` is replayed: a call that equals the recorded line, times aside, writes nothing,
        and ``replayed`` counts it. The first that differs opens attempt ``attempt``: its rows supersede for readers
        what was recorded past the step it restarts after. Nothing is deleted but half a line and files that no reader
        counts. A resume in which nothing differs leaves the files that an unbroken run would: only times differ, and
        after a writer that was closed, not killed, where one part ends and the next begins.

        Raises RecordError, before anything is changed, where the run is damaged, is being written, has another config,
        or ends before ``step``.
        """
        _check_settings(part_every, keep)
        done = _step(step, "resume from")
        lock = Lock(Path(path))
        try:
            standing, replay = reopen(Path(path), done, config=config, ignore=ignore)
            store = Store(Path(path), standing, part_every=part_every, sync=sync, keep=keep)
            store.state("running", done)
        except BaseException:
            lock.release()
            raise
        return cls(store, lock, replay, strict=strict, step=done)

    @property
    def attempt(self) -> int:
        """0; higher after a resume that replayed a step differently."""
        return self._replay.attempt

    @property
    def replayed(self) -> int:
        """Readings and completions that came again after a resume and equal what was recorded."""
        return self._replay.count

    @property
    def lost(self) -> int:
        """Readings and completions that did not fit into memory while the disk could not be written."""
        return self._store.lost

    @property
    def failures(self) -> int:
        """How many times the disk could not be written."""
        return self._store.failures

    @property
    def first_failure(self) -> str:
        """Why, the first time; empty where it always could."""
        return self._store.first_failure

    def metrics(self, kind: str, step: SupportsIndex, values: Mapping[str, SupportsFloat]) -> None:
        """Append one reading. Leave a value out where there is none; nan means "computed, and not a number".

        ``step`` counts optimizer steps done and never goes back within a kind.
        """
        done = _step(step, kind)
        self._check(kind, done)
        line = {"kind": kind, "step": done, "time": round(time.time(), 3)}
        line |= {key: _number(key, value, done) for key, value in values.items()}
        self._last_step[kind] = done
        self._store.write(self._replay.line(line), self._last_step["train"])

    def rollouts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append completions, all or none; keys as in ``ROLLOUT_SCHEMA``. Rows of one call share a part.

        The column ``attempt`` is the writer's own.
        """
        self._check_open()
        if rows:
            self._store.write(self._replay.rows(rollout_table(rows)), self._last_step["train"])

    def close(self, state: str = "done") -> None:
        """Commit what is pending and state how the run ended; a second call does nothing."""
        if state not in FINAL_STATES:
            raise ValueError(f"state {state!r}; choose {', '.join(FINAL_STATES)}")
        if not self._open:
            return
        self._open = False
        if not self._lock.ours:
            return  # a fork of the writer's process: the run goes on in the other
        try:
            self._store.write([], self._last_step["train"])
            self._store.settle(state, self._last_step["train"])
        finally:
            self._store.store.close()
            self._lock.release()
        if gone := self._store.unwritten:
            told = f"{self.path}: {gone} readings and completions were not recorded ({self.first_failure})"
            warnings.warn(told, RuntimeWarning, stacklevel=2)

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        stopped = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit))
        self.close("done" if kind is None else "stopped" if stopped else "failed")

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError(f"{self.path}: the run is closed; create another")
        if not self._lock.ours:
            raise ValueError(
                f"{self.path}: a fork of the writer's process cannot write; write where the run was opened"
            )

    def _check(self, kind: str, step: int) -> None:
        self._check_open()
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}; choose {' or '.join(KINDS)}")
        if step < self._last_step[kind]:
            raise ValueError(f"{kind} step {step} comes after step {self._last_step[kind]}; write steps in order")


def _check_settings(part_every: int, keep: int | None) -> None:
    if part_every < 1:
        raise ValueError(f"part_every is {part_every}; give at least 1 step per part")
    if keep is not None and keep < 0:
        raise ValueError(f"keep is {keep}; give a number of bytes, or None to keep all")


def _step(step: Any, what: str) -> int:
    try:
        whole = operator.index(step)  # a step of NumPy, too, and never 1.5
    except TypeError:
        whole = -1
    if not 0 <= whole < MOST_STEPS:
        raise ValueError(f"{what} step {step!r}: give the number of optimizer steps done, a whole number from 0")
    return whole


def _number(key: str, value: Any, step: int) -> float:
    if key in RESERVED:
        raise ValueError(f"metric {key!r} at step {step}: the name is taken; rename it")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"metric {key!r} at step {step} is {value!r}, not one number; leave it out where absent"
        ) from error


def _mapping(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
