"""Remove a run, and nothing else that lies in its folder."""

import shutil
from pathlib import Path

from forkpoint.record._leftovers import temporaries
from forkpoint.record._lock import Lock
from forkpoint.record.schema import DAMAGED, HEADER, MANIFEST, METRICS, ROLLOUTS, STATUS, TAIL


def remove_run(path: str | Path) -> None:
    """Delete the files that a run consists of; other files in the folder stay, and so does the folder.

    The header goes last, so that a run removed half is still seen as one. Raises RecordError while it is written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "thesis.tex").write_text("mine")
    >>> remove_run(folder)
    >>> [file.name for file in folder.iterdir()]
    ['thesis.tex']
    """
    folder = Path(path)
    if not folder.is_dir():
        return
    lock = Lock(folder)
    try:
        parts = sorted((folder / ROLLOUTS).glob("part-*.parquet"))
        named = (folder / TAIL, folder / METRICS, folder / MANIFEST, folder / STATUS, folder / HEADER)
        for file in (*temporaries(folder), *parts, *named):
            file.unlink(missing_ok=True)
        shutil.rmtree(folder / DAMAGED, ignore_errors=True)
        rollouts = folder / ROLLOUTS
        if rollouts.is_dir() and not any(rollouts.iterdir()):
            rollouts.rmdir()
    finally:
        lock.release()
