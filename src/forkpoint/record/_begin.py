"""The first files of a run: what it is, and the empty files it will fill."""

import os
import platform
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from forkpoint import __version__
from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._lock import Lock
from forkpoint.record._parts import Manifest, write_manifest
from forkpoint.record._seal import key_of, seal
from forkpoint.record.schema import HEADER, METRICS, ROLLOUTS, SCHEMA, STATUS, TAIL

PACKAGES = ("numpy", "pyarrow", "torch", "transformers", "trl", "accelerate", "datasets")


def lay_out(path: Path, header: Mapping[str, Any]) -> Lock:
    """The files of an empty run, and the lock on it."""
    data = seal(header, indent=1)
    _refuse_a_run(path)
    (path / ROLLOUTS).mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    try:
        # again: another writer may have come and gone
        _refuse_a_run(path)
        _fill(path, data, key_of(header["run_id"]))
    except BaseException:
        lock.release()
        raise
    return lock


def _fill(path: Path, header: bytes, key: int) -> None:
    """``run.json`` comes last, since a folder with it is a run."""
    for file in (path / METRICS, path / TAIL):
        _files.atomic_write(file, b"")
    write_manifest(path, key, Manifest())
    write_status(path, key, {"state": "running", "step": 0, "lines": 0, "rows": 0})
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


@cache
def _version(package: str) -> str:
    # from metadata: importing torch to ask for its version would cost seconds and may not be possible
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def write_status(path: Path, key: int, status: Mapping[str, Any]) -> None:
    """Replace ``status.json``: state, step, and how many lines and rows there are at least from now on."""
    _files.atomic_write(path / STATUS, seal({**status, "time": round(time.time(), 3)}, key=key, indent=1))
