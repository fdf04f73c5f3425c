"""What could not be written yet, within a bound, oldest first."""

import itertools
from collections import deque

import pyarrow as pa

from forkpoint.record._replay import Item


class Backlog:
    """A queue of at most ``most`` bytes, roughly. What does not fit is counted: completions go before readings."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[Item] = deque()
        self._bytes = 0
        self.lost = 0
        """readings and completions dropped, and not yet told of"""

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def front(self) -> Item:
        return self._items[0]

    @property
    def waiting(self) -> int:
        """Readings and completions in the queue."""
        return sum(_count(item) for item in self._items)

    def add(self, item: Item) -> None:
        self._items.append(item)
        self._bytes += _size(item)

    def pop(self) -> None:
        self._bytes -= _size(self._items.popleft())

    def forget_newest(self) -> None:
        self._bytes -= _size(self._items.pop())

    def trim(self) -> None:
        """Drop the oldest until the rest fits: completions first, then readings; the beginning of an attempt stays."""
        while self._bytes > self._most and (item := self._droppable()) is not None:
            self._items = deque(kept for kept in self._items if kept is not item)
            self._bytes -= _size(item)
            self.lost += _count(item)

    def _droppable(self) -> Item | None:
        rows = (item for item in self._items if isinstance(item, pa.Table))
        readings = (item for item in self._items if isinstance(item, dict) and item["kind"] != "attempt")
        return next(itertools.chain(rows, readings), None)


def _size(item: Item) -> int:
    return 40 * len(item) if isinstance(item, dict) else item.nbytes


def _count(item: Item) -> int:
    return int(item["kind"] != "attempt") if isinstance(item, dict) else len(item)
