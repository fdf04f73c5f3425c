"""What a test of workers may not leave behind: processes and folders."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def workers(owner: int = 0) -> set[str]:
    """Processes of the pools of one process, this one by default, by the mark in their environment."""
    mark = f"FORKPOINT_VERIFY={owner or os.getpid()}".encode()
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.add(place.name)
    return found


@pytest.fixture
def no_orphan() -> Iterator[None]:
    """Every process that the test's pools started is gone at its end."""
    before = workers()
    yield
    patience = time.monotonic() + 5
    while (left := workers() - before) and time.monotonic() < patience:
        time.sleep(0.05)
    assert left == set()
