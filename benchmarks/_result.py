"""What every benchmark keeps: the raw rounds, the machine and the versions they were taken with."""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "trl", "pyarrow", "numpy")


def machine() -> dict[str, str]:
    """Commit, processor and versions; no host or user name."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, cwd=RESULTS.parent).stdout.strip()
    about = {"commit": commit or "unknown", "machine": platform.processor() or platform.machine()}
    return about | {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def save(name: str, result: Mapping[str, Any]) -> Path:
    """Write ``result`` beside ``machine()`` to ``results/NAME_MACHINE_DATE_COMMIT.json`` and return the path."""
    here = machine()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{platform.machine()}_{date.today()}_{here['commit']}.json"
    path.write_text(json.dumps({**result, **here}, indent=1) + "\n", encoding="utf-8")
    return path


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
