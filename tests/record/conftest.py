"""A small run on disk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import write_steps

from forkpoint.record import RunWriter


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Descriptors that were synced, in order. Nothing is: no power is cut here, and a busy disk takes its time."""
    descriptors: list[int] = []
    monkeypatch.setattr(os, "fsync", descriptors.append)
    return descriptors


@pytest.fixture
def create(tmp_path: Path) -> Callable[..., RunWriter]:
    def create(folder: str = "run", **changes: Any) -> RunWriter:
        about = {"name": "plain", "config": {"steps": 6}, "task": "countdown", "seed": 3, "definitions": {}}
        method = {"name": "grpo", "settings": {"clip_low": 0.2}, "intervenes": False}
        return RunWriter.create(tmp_path / folder, **(about | {"method": method} | changes))

    return create


@pytest.fixture
def run(create: Callable[..., RunWriter]) -> Path:
    """Two committed parts, rows in the tail, an eval, non-finite values; still open as a killed run would be."""
    writer = create(part_every=2)
    write_steps(writer, range(1, 6))
    return writer.path
