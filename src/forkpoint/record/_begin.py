"""The first files of a run: what it is, and the empty files it will fill."""

import os
import platform
import time
import uuid
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from forkpoint import __version__
from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._parts import write_manifest
from forkpoint.record._seal import seal
from forkpoint.record.schema import HEADER, METRICS, ROLLOUTS, SCHEMA, STATUS, TAIL

PACKAGES = ("numpy", "pyarrow", "torch", "transformers", "trl", "accelerate", "datasets")


def lay_out(path: Path, header: bytes) -> None:
    """The files of an empty run; ``run.json`` comes last, since a folder with it is a run."""
    _refuse_a_run(path)
    (path / ROLLOUTS).mkdir(parents=True, exist_ok=True)
    for file in (path / METRICS, path / TAIL):
        _files.atomic_write(file, b"")
    write_manifest(path, [])
    write_status(path, "running", 0)
    _files.atomic_write(path / HEADER, header)
    _files.sync_folder(path.parent)


def _refuse_a_run(path: Path) -> None:
    """A run, or rows of one that lost its header: neither is written over."""
    rows = [path / METRICS, path / TAIL]
    taken = [file for file in rows if file.exists() and file.stat().st_size]
    taken += [file for file in (path / HEADER, *sorted((path / ROLLOUTS).glob("part-*.parquet"))) if file.exists()]
    if taken:
        remedy = "choose another folder with --out, or replace the run with --overwrite"
        raise RecordError("already holds a run", file=path, field=taken[0].name, remedy=remedy)


def identity() -> dict[str, Any]:
    """Which run this is and what it ran on; no host or user name."""
    return {
        "schema": SCHEMA,
        "run_id": uuid.uuid4().hex,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "forkpoint": __version__,
        "environment": _environment(),
    }


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str:
    # from metadata: importing torch to ask for its version would cost seconds and may not be possible
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def write_status(path: Path, state: str, step: int) -> None:
    """Replace ``status.json``."""
    record = {"state": state, "step": step, "time": round(time.time(), 3)}
    _files.atomic_write(path / STATUS, seal(record, indent=1))
