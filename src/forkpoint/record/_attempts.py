"""Which rows count when a resumed run went another way: the newest attempt's, and what it went on from."""

from collections.abc import Sequence


def in_view(rows: Sequence[tuple[int, str, int]], restarts: Sequence[int]) -> list[bool]:
    """For rows as (attempt, kind, step): whether the view of attempt ``len(restarts)`` holds them.

    restarts  the step after which attempt 1, 2, ... starts

    A row is superseded by a later attempt that restarts before its step, or that has rows of its kind and step. A row
    of an attempt later than the view's is left out.

    >>> rows = [(0, "train", 1), (0, "train", 2), (0, "train", 3), (1, "train", 2)]
    >>> in_view(rows, [1])
    [True, False, False, True]
    >>> in_view(rows, [])
    [True, True, True, False]
    """
    reach: list[float] = [min(restarts[attempt:], default=float("inf")) for attempt in range(len(restarts) + 1)]
    newest: dict[tuple[str, int], int] = {}
    for attempt, kind, step in rows:
        if attempt < len(reach):
            newest[kind, step] = max(attempt, newest.get((kind, step), 0))
    return [
        attempt < len(reach) and step <= reach[attempt] and newest[kind, step] == attempt
        for attempt, kind, step in rows
    ]
