"""Remove a run, and nothing else that lies in its folder."""

from pathlib import Path

from forkpoint.record.schema import HEADER, MANIFEST, METRICS, ROLLOUTS, STATUS, TAIL


def remove_run(path: str | Path) -> None:
    """Delete the files that a run consists of; other files in the folder stay, and so does the folder.

    The header goes last, so that a run removed half is still seen as one.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "thesis.tex").write_text("mine")
    >>> remove_run(folder)
    >>> [file.name for file in folder.iterdir()]
    ['thesis.tex']
    """
    folder = Path(path)
    parts = sorted((folder / ROLLOUTS).glob("part-*.parquet"))
    for file in (*parts, folder / TAIL, folder / METRICS, folder / MANIFEST, folder / STATUS, folder / HEADER):
        file.unlink(missing_ok=True)
    rollouts = folder / ROLLOUTS
    if rollouts.is_dir() and not any(rollouts.iterdir()):
        rollouts.rmdir()
