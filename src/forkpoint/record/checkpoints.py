"""Checkpoints that count: a trainer's folder is complete once a sealed list of its files, written last, is in it.

    OUT/checkpoint-120/...                      the trainer's own files, and in forkpoint/ what they leave out
    OUT/checkpoint-120/forkpoint/complete.json  size and sha256 of every one of them

A process killed while it saves leaves a folder without the list, or with files that differ from it. Resuming passes
over such a folder, and the one before it is deleted only after the list of the new one stands.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.record import _files
from forkpoint.record._error import RecordError
from forkpoint.record._seal import seal

COMPLETE = "forkpoint/complete.json"
NAME = re.compile(r"checkpoint-(\d+)")


class Newest(NamedTuple):
    """The newest complete checkpoint, and what was wrong with the newer ones."""

    folder: Path | None
    passed_over: list[RecordError]


def commit(folder: str | Path) -> None:
    """Declare the checkpoint complete, once all its files are written.

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
    (folder / COMPLETE).parent.mkdir(exist_ok=True)
    _files.atomic_write(folder / COMPLETE, seal({"schema": 1, "files": listed}, indent=1))
    for inside in {file.parent for file in files} | {folder, folder.parent}:
        _files.sync_folder(inside)


def verify(folder: str | Path) -> None:
    """Raise RecordError, naming the file, unless every file is there with the bytes that were committed."""
    folder = Path(folder)
    remedy = "resume from an earlier checkpoint"
    if not (folder / COMPLETE).is_file():
        raise RecordError("is not complete: its saving was cut off", file=folder, remedy=remedy)
    listed = _files.read_document(folder / COMPLETE).get("files")
    if not isinstance(listed, dict):
        raise RecordError("is not a list of files", file=folder / COMPLETE, field="files", remedy=remedy)
    for name, stated in listed.items():
        # the name becomes a path: nothing outside the folder may be read
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise RecordError("names a file outside the checkpoint", file=folder / COMPLETE, field=name, remedy=remedy)
        if not (folder / name).is_file():
            raise RecordError("is missing", file=folder / name, remedy=remedy)
        if _stated(folder / name, sync=False) != stated:
            raise RecordError(f"differs from {COMPLETE}", file=folder / name, remedy=remedy)


def newest(out: str | Path) -> Newest:
    """The complete checkpoint of the highest step in ``out``; None where there is no such one."""
    passed_over: list[RecordError] = []
    for folder in reversed(_in_order(Path(out))):
        try:
            verify(folder)
        except RecordError as error:
            passed_over.append(error)
        else:
            return Newest(folder, passed_over)
    return Newest(None, passed_over)


def prune(out: str | Path, keep: int, spare: Collection[str | Path] = ()) -> None:
    """Delete all but the ``keep`` newest complete checkpoints, and leftovers older than these; ``spare`` stay."""
    folders = _in_order(Path(out))
    complete = [folder for folder in folders if (folder / COMPLETE).is_file()]
    if keep < 1 or len(complete) <= keep:
        return
    kept = {folder.resolve() for folder in complete[-keep:]} | {Path(folder).resolve() for folder in spare}
    for folder in folders[: folders.index(complete[-keep])]:
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
