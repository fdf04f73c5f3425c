"""A store whose failures stop nobody: what cannot be written waits, in order, and is tried again on the next call."""

import contextlib
import warnings
from collections.abc import Sequence

import pyarrow as pa

from forkpoint.record._backlog import Backlog
from forkpoint.record._replay import Item
from forkpoint.record._store import Store
from forkpoint.record.schema import KINDS

LOST = "guard/record_lost"
"""in the first reading after it: how many readings and completions were dropped while the disk was full"""
MOST_BYTES = 64 * 2**20
"""what waits in memory while the disk cannot be written"""


class TolerantStore:
    """Counts failures and warns of the first; ``strict`` raises them and forgets the call instead."""

    def __init__(self, store: Store, *, strict: bool) -> None:
        self.store, self._strict = store, strict
        self.failures, self.first_failure = 0, ""
        self._backlog, self._told = Backlog(MOST_BYTES), 0

    @property
    def lost(self) -> int:
        """Readings and completions that did not fit into memory."""
        return self._told + self._backlog.lost

    @property
    def unwritten(self) -> int:
        """Readings and completions of which the record says nothing yet."""
        return self._backlog.waiting + self._backlog.lost

    def write(self, items: Sequence[Item], step: int) -> None:
        """Write what waits and then these, as far as the disk takes it; ``step`` is for the status."""
        for item in items:
            self._backlog.add(item)
        try:
            while self._backlog:
                self._put_front(step)
        except OSError as error:
            if self._strict:
                # the call's own comes last: the beginning of its attempt must still stand before what follows
                if items:
                    self._backlog.forget_newest()
                raise
            self._fail(error)
        self._backlog.trim()
        if not self._backlog and self.store.is_long_unstated(step):
            # the call is written: a caller told of a failure here would write it twice
            with contextlib.suppress(OSError):
                self.store.state("running", step)

    def settle(self, state: str, step: int, *, commit: bool = True) -> None:
        """Make a part of what waits in the tail, and state how the run stands: nothing is lost where that fails."""
        try:
            if commit:
                self.store.commit()
            self.store.state(state, step)
        except OSError as error:
            if self._strict:
                raise
            self._fail(error)

    def _put_front(self, step: int) -> None:
        item = self._backlog.front
        if isinstance(item, pa.Table):
            if self.store.is_due(item):
                self.settle("running", step)
            self.store.add_rows(item)
            self._backlog.pop()
            return
        untold = self._backlog.lost if item["kind"] in KINDS else 0
        self.store.add_line(item | ({LOST: float(untold)} if untold else {}))
        self._backlog.pop()
        self._backlog.lost -= untold
        self._told += untold
        if item["kind"] not in KINDS:
            # from here on a file cut before the attempt began shows
            self.settle("running", step, commit=False)

    def _fail(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1:
            self.first_failure = error.strerror or str(error)
            told = f"{self.store.path}: cannot be written ({self.first_failure})"
            remedy = "the run goes on, and what fits into memory is written once there is room"
            warnings.warn(f"{told}; {remedy}", RuntimeWarning, stacklevel=4)
