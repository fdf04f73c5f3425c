"""Readings of micro-batches and ranks put together into those of a step."""

from collections.abc import Mapping
from typing import Any

from forkpoint.batch import Mergeable

Readings = dict[str, Mergeable]


def merge(total: Readings, part: Mapping[str, Mergeable]) -> None:
    """Add the readings of one micro-batch or rank to ``total``, in place."""
    for key, reading in part.items():
        total[key] = total[key] + reading if key in total else reading  # type: ignore[operator]


def gathered(accelerator: Any, readings: Readings) -> Readings:
    """The readings of all processes added up, in their order, so that each has the same bits."""
    if accelerator.num_processes == 1:
        return readings
    from accelerate.utils import gather_object

    total: Readings = {}
    for part in gather_object([readings]):
        merge(total, part)
    return total


def everywhere(accelerator: Any, values: Mapping[str, float]) -> dict[str, float]:
    """What the main process read, on every process."""
    if accelerator.num_processes == 1:
        return dict(values)
    from accelerate.utils import broadcast_object_list

    (held,) = broadcast_object_list([dict(values)])
    return held
