"""What a dead writer leaves behind that is no data: temporary files, parts that no manifest names, half a line."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forkpoint.record import _files
from forkpoint.record._parts import NAME, Manifest
from forkpoint.record._rollouts import Rollouts
from forkpoint.record.schema import DAMAGED, ROLLOUTS, TAIL

OURS = r"(?:run|status|manifest)\.json|(?:metrics|tail)\.jsonl|part-\d{6}\.parquet"
TEMPORARY = re.compile(rf"\.(?:{OURS})\.[0-9a-f]{{8}}\.tmp")


def temporaries(run: Path) -> list[Path]:
    """Files that were written in full or in part, and never got their name."""
    found = [*run.glob(".*.tmp"), *(run / ROLLOUTS).glob(".*.tmp")]
    return sorted(file for file in found if TEMPORARY.fullmatch(file.name) and file.is_file())


def unlisted(run: Path, manifest: Manifest) -> list[Path]:
    """Parts of which a writer died before it could name or delete them."""
    stated = {part.file for part in manifest.parts}
    found = sorted((run / ROLLOUTS).glob("part-*.parquet"))
    return [file for file in found if NAME.fullmatch(file.name) and file.name not in stated and file.is_file()]


def clear_unlisted(run: Path, found: Rollouts) -> list[str]:
    """Delete the unlisted parts whose rows are elsewhere, set the others aside; what was done, a line each."""
    done: list[str] = []
    for file in unlisted(run, found.manifest):
        if why := _needless(file, found):
            file.unlink()
            done.append(f"{file}: deleted; {why}")
        else:
            place = set_aside(run, file, file.read_bytes())
            file.unlink()
            done.append(f"{file}: moved to {place}; no manifest names it")
    return done


def _needless(file: Path, found: Rollouts) -> str:
    """Why nothing is lost with an unlisted part; empty where something may be."""
    try:
        part = pq.read_table(pa.BufferReader(file.read_bytes()))
        steps = [step for step in part.column("step").to_pylist() if step is not None]
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return ""
    # as text, since nan is not equal to itself
    if repr(part.to_pylist()) == repr(found.recent.slice(0, len(part)).to_pylist()):
        return f"its rows are in {TAIL}"
    return "retention dropped it" if max(steps, default=0) <= found.manifest.retired_step else ""


def set_aside(run: Path, file: Path, data: bytes) -> Path:
    """Keep bytes that are no data any more in ``RUN/damaged``, under a name that was not taken."""
    number, place = 0, run / DAMAGED / file.name
    while place.exists():
        number += 1
        place = run / DAMAGED / f"{file.name}.{number}"
    place.parent.mkdir(exist_ok=True)
    _files.atomic_write(place, data)
    return place


def cut_half_a_line(path: Path) -> bool:
    """Drop what stands after the last line end; False where nothing does."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole == len(data):
        return False
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        os.ftruncate(descriptor, whole)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True
