"""Checkpoints that count: a trainer's folder is complete once a sealed list of its files, written last, is in it.

    OUT/checkpoint-120/...                      the trainer's own files, and in forkpoint/ what they leave out
    OUT/checkpoint-120/forkpoint/complete.json  size and sha256 of every one of them, whose run it is, and its number

Newest is the one committed last, by number: a run that went back to step 20 saves step 30 after an older step 60.

A process killed while it saves leaves a folder without the list, or with files that differ from it. Resuming passes
over such a folder, and the one before it is deleted only after the list of the new one stands.
"""

import hashlib
import math
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._seal import seal
from forkpoint.record.read import Run

COMPLETE = "forkpoint/complete.json"
NAME = re.compile(r"checkpoint-(\d+)")


class Newest(NamedTuple):
    """The newest complete checkpoint, and what was wrong with the newer ones."""

    folder: Path | None
    passed_over: list[RecordError]


def commit(folder: str | Path, *, run_id: str = "") -> None:
    """Declare the checkpoint of a run complete, once all its files are written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "checkpoint-3"
    >>> folder.mkdir()
    >>> _ = (folder / "model.safetensors").write_bytes(b"weights")
    >>> commit(folder)
    >>> newest(folder.parent).folder.name
    'checkpoint-3'
    """
    folder = Path(folder)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file != folder / COMPLETE]
    listed = {file.relative_to(folder).as_posix(): _stated(file) for file in files}
    before = max((_number(other) for other in _complete(folder.parent)), default=0.0)
    about = {"schema": 1, "run_id": run_id, "number": int(before) + 1}
    (folder / COMPLETE).parent.mkdir(exist_ok=True)
    _files.atomic_write(folder / COMPLETE, seal(about | {"files": listed}, indent=1))
    for inside in {file.parent for file in files} | {folder, folder.parent}:
        _files.sync_folder(inside)


def verify(folder: str | Path, run: Run | None = None) -> None:
    """Raise RecordError, naming the file, unless every file is there with the bytes that were committed.

    With ``run`` also where that run cannot go on from here: the checkpoint is another run's, or past the record's end.
    """
    folder = Path(folder)
    remedy = "resume from an earlier checkpoint"
    if not (folder / COMPLETE).is_file():
        raise RecordError("is not complete: its saving was cut off", file=folder, remedy=remedy)
    stated = _files.read_document(folder / COMPLETE)
    if run is not None:
        _refuse_unfit(folder, stated.get("run_id"), run)
    listed = stated.get("files")
    if not isinstance(listed, dict):
        raise RecordError("is not a list of files", file=folder / COMPLETE, field="files", remedy=remedy)
    for name, committed in listed.items():
        # the name becomes a path: nothing outside the folder may be read
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise RecordError("names a file outside the checkpoint", file=folder / COMPLETE, field=name, remedy=remedy)
        if not (folder / name).is_file():
            raise RecordError("is missing", file=folder / name, remedy=remedy)
        if _stated(folder / name, sync=False) != committed:
            raise RecordError(f"differs from {COMPLETE}", file=folder / name, remedy=remedy)


def newest(out: str | Path, run: Run | None = None) -> Newest:
    """The complete checkpoint in ``out`` that was committed last, of those from which ``run`` can go on; or None."""
    passed_over: list[tuple[Path, RecordError]] = []
    for folder in sorted(_in_order(Path(out)), key=_number)[::-1]:
        try:
            verify(folder, run)
        except RecordError as error:
            passed_over.append((folder, error))
        else:
            step = step_of(folder)
            return Newest(folder, [e for other, e in passed_over if _number(other) < math.inf or step_of(other) > step])
    return Newest(None, [error for _, error in passed_over])


def prune(out: str | Path, keep: int, spare: Collection[str | Path] = ()) -> None:
    """Delete all but the ``keep`` newest complete checkpoints, and leftovers of steps before these; ``spare`` stay."""
    complete = _complete(Path(out))
    if keep < 1 or len(complete) <= keep:
        return
    kept = {folder.resolve() for folder in complete[-keep:]} | {Path(folder).resolve() for folder in spare}
    first = min(step_of(folder) for folder in complete[-keep:])
    leftovers = [folder for folder in _in_order(Path(out)) if folder not in complete and step_of(folder) < first]
    for folder in (*leftovers, *complete[:-keep]):
        if folder.resolve() not in kept:
            _remove(folder)


def remove_checkpoints(out: str | Path) -> None:
    """Delete every checkpoint in a folder; other files stay."""
    for folder in _in_order(Path(out)):
        _remove(folder)


def step_of(folder: str | Path) -> int:
    """The optimizer steps done at a checkpoint, by its name. ValueError for any other folder.

    >>> step_of("out/checkpoint-120")
    120
    """
    found = NAME.fullmatch(Path(folder).name)
    if not found:
        raise ValueError(f"{folder}: not a checkpoint; its name would be checkpoint-STEP")
    return int(found[1])


def _refuse_unfit(folder: Path, run_id: Any, run: Run) -> None:
    step, remedy = step_of(folder), "resume from an earlier checkpoint of the run, or begin another run with --out"
    if step > run.steps:
        raise RecordError(f"is past step {run.steps}, where the record ends", file=folder, remedy=remedy)
    # a run may begin at another's checkpoint: then its record has nothing up to there
    began = min((row["step"] for row in run.metrics("train")), default=0)
    if run_id not in (None, "", run.header["run_id"]) and step >= began:
        raise RecordError("belongs to another run", file=folder, remedy=remedy)


def _number(folder: Path) -> float:
    """When a checkpoint was committed, counted in commits; infinite where it never was, 0 where nobody can say."""
    if not (folder / COMPLETE).is_file():
        return math.inf
    try:
        number = _files.read_document(folder / COMPLETE).get("number")
    except RecordError:
        return 0.0
    return float(number) if type(number) is int else 0.0


def _complete(out: Path) -> list[Path]:
    """The checkpoints that have a list, in the order in which they were committed."""
    return sorted((folder for folder in _in_order(out) if (folder / COMPLETE).is_file()), key=_number)


def _remove(folder: Path) -> None:
    # the list goes first, so that a checkpoint deleted half is seen as none
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _in_order(out: Path) -> list[Path]:
    found = [folder for folder in out.glob("checkpoint-*") if folder.is_dir() and NAME.fullmatch(folder.name)]
    return sorted(found, key=step_of)


def _stated(file: Path, *, sync: bool = True) -> dict[str, Any]:
    """Size and sha256 of a file, which is first brought onto the disk: the list must not outlive what it lists."""
    with file.open("rb") as opened:
        if sync and os.name != "nt":
            os.fsync(opened.fileno())
        digest = hashlib.sha256()
        while block := opened.read(2**20):
            digest.update(block)
        return {"bytes": opened.tell(), "sha256": digest.hexdigest()}
