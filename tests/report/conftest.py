"""Fixtures of the report's tests: the two runs of ``two_runs.py`` on disk, and a way to write more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from forkpoint.record.read import Run
from tests.report.two_runs import MANAGED, PLAIN, write_run


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Plain first, managed second."""
    home = tmp_path_factory.mktemp("runs")
    return [write_run(home / "plain", "plain GRPO", PLAIN), write_run(home / "managed", "fork thermostat", MANAGED)]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Writes one more run: ``make_run("name", PLAIN)``."""
    return lambda name, curve, **more: write_run(tmp_path / f"run{len(list(tmp_path.iterdir()))}", name, curve, **more)
