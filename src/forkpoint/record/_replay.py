"""A resumed run held against what was recorded past its checkpoint: the same again, new, or another way.

Calls come in the order in which a killed writer got them, so the recorded readings and the recorded completions are two
queues. A call that equals the front of its queue is on disk already. One that differs opens an attempt.
"""

import hashlib
import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

Item = dict[str, Any] | pa.Table
"""a line of the metrics, or completions"""

TIMED = re.compile(r"^(?:time|timing|profiling)/|(?:^|[/_])(?:time|runtime|seconds|per_second)$")
SAME, NEW = -1, -2


class Entry(NamedTuple):
    """A reading or a completion, as far as it must come again."""

    kind: str
    step: int
    digest: str
    """of the rest of it, as the completions of many steps wait to come again"""


def measures_time(key: str) -> bool:
    """Whether a value tells how long something took, which no replay repeats.

    >>> [measures_time(key) for key in ("time", "step_time", "train_runtime", "steps_per_second", "timely", "loss")]
    [True, True, True, True, False, False]
    """
    return TIMED.search(key) is not None


def entry_of(record: Mapping[str, Any]) -> Entry:
    """What is compared of a reading or a completion: all but times and the attempt. Nan equals nan, 0.0 is not -0.0."""
    kept = {key: value for key, value in record.items() if key != "attempt" and not measures_time(key)}
    digest = hashlib.sha256(repr(sorted(kept.items())).encode()).hexdigest()
    return Entry(record["kind"], record["step"], digest)


class Replay:
    """Compares call by call until all that was recorded has come again, or something differs."""

    def __init__(
        self,
        attempt: int = 0,
        *,
        step: int = -1,
        retired_step: int = -1,
        readings: Sequence[Entry] = (),
        rows: Sequence[Entry] = (),
    ) -> None:
        """
        attempt       the newest attempt on disk
        step          of the checkpoint that the run goes on from; entries before it are not looked at
        retired_step  last step of which completions were dropped: there is nothing to compare with
        """
        self.attempt, self.count = attempt, 0
        self._step, self._retired_step = step, retired_step
        # from the start nothing is settled: a writer may have died between a reading at step 0 and its completions
        settled = step or -1
        self._settled = {entry for entry in (*readings, *rows) if entry.step <= settled}
        self._readings = deque(entry for entry in readings if entry.step > settled)
        self._rows = deque(entry for entry in rows if entry.step > settled)
        self._over = step < 0
        self._taken: list[Item] = []

    def line(self, line: dict[str, Any]) -> list[Item]:
        """What to write for a reading: nothing, the reading, or an attempt's beginning and all that belongs to it."""
        if self._is_over(line["step"]):
            return [self._stamped(line)]
        entry = entry_of(line)
        verdict = self._verdict(self._readings, entry)
        if verdict >= 0:
            return [*self._restart(verdict, entry), self._stamped(line)]
        return self._accepted(line, [verdict])

    def rows(self, table: pa.Table) -> list[Item]:
        """The same for completions."""
        if self._is_over(table.column("step")[0].as_py()):
            return [self._stamped(table)]
        verdicts: list[int] = []
        rows = table.to_pylist()
        for row in rows:
            entry = entry_of(row)
            verdict = SAME if self._is_retired(entry) else self._verdict(self._rows, entry)
            if verdict >= 0:
                known = {i for i, v in enumerate(verdicts) if v == SAME and not _hides(rows[i], verdict, entry)}
                rest = [i for i in range(len(table)) if i not in known]
                return [*self._restart(verdict, entry), self._stamped(table.take(rest))]
            verdicts.append(verdict)
        return self._accepted(table, verdicts)

    def _is_over(self, step: int) -> bool:
        # a call at the checkpoint's own step may repeat what is settled, so the end shows only past it
        if not self._over and step > self._step and not self._readings and not self._rows:
            self._over, self._taken = True, []
        return self._over

    def _verdict(self, expected: deque[Entry], entry: Entry) -> int:
        """SAME, NEW, or the step after which a new attempt restarts."""
        if self._is_over(entry.step):
            return NEW
        front = expected[0] if expected else None
        if entry in self._settled or entry == front:
            if entry == front:
                expected.popleft()
            self.count += 1
            return SAME
        if entry.step <= self._step and self._step:
            known = any(entry[:2] == settled[:2] for settled in self._settled)
            return self._step if known or self._readings or self._rows else NEW
        # what was recorded for an earlier step, and has not come again
        waiting = [queue[0].step for queue in (self._readings, self._rows) if queue]
        if front or min(waiting, default=entry.step) < entry.step:
            return max(self._step, min(entry.step, *waiting) - 1)
        return NEW

    def _accepted(self, item: Item, verdicts: list[int]) -> list[Item]:
        if not self._over:
            self._taken.append(item)
        if NEW not in verdicts:
            return []
        fresh = [i for i, verdict in enumerate(verdicts) if verdict == NEW]
        return [self._stamped(item if isinstance(item, dict) else item.take(fresh))]

    def _is_retired(self, entry: Entry) -> bool:
        """Whether nothing is recorded that it could be held against. Of a later attempt there may be something."""
        return entry.step <= self._retired_step and not (self._rows and self._rows[0].step <= entry.step)

    def _restart(self, step: int, other: Entry) -> list[Item]:
        """Begin an attempt after ``step``, as ``other`` differs, and write again what that supersedes."""
        self.attempt, self._over = self.attempt + 1, True
        begin = {"kind": "attempt", "step": step, "time": round(time.time(), 3), "attempt": self.attempt}
        hidden = (pc.field("step") > step) | ((pc.field("kind") == other.kind) & (pc.field("step") == other.step))
        again = [item if isinstance(item, dict) else item.filter(hidden) for item in self._taken]
        kept = [item for item in again if (_hides(item, step, other) if isinstance(item, dict) else len(item))]
        self._taken = []
        self._readings.clear()
        self._rows.clear()
        return [begin, *(self._stamped(item) for item in kept)]

    def _stamped(self, item: Item) -> Item:
        if isinstance(item, dict):
            return item | ({"attempt": self.attempt} if self.attempt else {})
        index = item.schema.get_field_index("attempt")
        return item.set_column(index, item.schema.field(index), pa.array([self.attempt] * len(item), pa.int32()))


def _hides(item: dict[str, Any], step: int, other: Entry) -> bool:
    """Whether a new attempt hides its line on disk: it is past ``step``, or of the kind and step of ``other``."""
    return item["step"] > step or (item["kind"], item["step"]) == other[:2]
