"""The tests whose counts can be large, with large counts: one file of tests after the other, and each once.

    python -m tests.campaign --out runs/campaign

A file that passed is noted in ``OUT/passed.txt`` with the state of the source it was tested on, and passed over by the
next call as long as that state stays. Exit code 1 where a file failed.
"""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FOLDERS = ("laws", "credit", "metrics", "record", "verify", "test_alarms.py")


def main(out: str = "runs/campaign") -> int:
    """Run what has not passed yet; returns how many files failed."""
    place = Path(out)
    place.mkdir(parents=True, exist_ok=True)
    notes, state = place / "passed.txt", _state()
    passed = set(notes.read_text().splitlines()) if notes.exists() else set()
    failed = 0
    for file in _files():
        note = f"{file.relative_to(HERE)} {state}"
        if note in passed:
            continue
        began = time.monotonic()
        code = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--hypothesis-profile=campaign", str(file)]
        ).returncode
        print(f"{note}: {'failed' if code else 'passed'} in {time.monotonic() - began:.0f} s", flush=True)
        failed += bool(code)
        if not code:
            with notes.open("a") as opened:
                opened.write(note + "\n")
    return failed


def _files() -> list[Path]:
    named = [HERE / name for name in FOLDERS]
    return [file for path in named for file in (sorted(path.glob("test_*.py")) if path.is_dir() else [path])]


def _state() -> str:
    """A short hash of the source and the tests."""
    digest = hashlib.sha256()
    for file in sorted([*(HERE.parent / "src").rglob("*.py"), *HERE.rglob("*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    import tyro

    sys.exit(min(tyro.cli(main), 1))
