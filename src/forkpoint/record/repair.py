"""Put right what can be put right in a run that no writer holds, and say each thing that was done.

Bytes that cannot be believed are set aside in ``RUN/damaged``, and a line of kind ``lost`` in their place says how many
there were. A sound file is never touched. Parts, the manifest and the header cannot be made again: restore them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forkpoint.record import _files
from forkpoint.record._begin import write_status
from forkpoint.record._error import RecordError
from forkpoint.record._files import Key
from forkpoint.record._header import key_in, read_header, read_status
from forkpoint.record._leftovers import clear_unlisted, cut_half_a_line, set_aside, temporaries
from forkpoint.record._lock import Lock
from forkpoint.record._metrics import MOST_STEPS, parse_metrics, read_metrics
from forkpoint.record._parts import read_manifest, write_manifest
from forkpoint.record._rollouts import read_rollouts, row_number, rows_table
from forkpoint.record._seal import parse, seal, unseal
from forkpoint.record.schema import MANIFEST, METRICS, STATUS, TAIL

MOST_LOST = 10**6
"""rows that can be missing before a tail's numbers are no count of completions"""


def repair(path: str | Path) -> list[str]:
    """Repair the run in a folder; what was done, a line each, and nothing on a second call.

    ``check`` tells what is left. Raises RecordError while a writer holds the run, and where its header is missing or
    damaged, since the other files are bound to what stands in it.
    """
    path = Path(path)
    key, done = key_in(read_header(path)), list[str]()
    lock = Lock(path)
    try:
        for look in (_temporaries, _half_lines, _metrics, _tail, _unlisted, _status):
            try:
                done += look(path, key)
            except RecordError:
                # check names it; a file that cannot be believed is no ground to judge another
                continue
    finally:
        lock.release()
    return done


def _temporaries(path: Path, _: Key) -> Iterator[str]:
    for file in temporaries(path):
        file.unlink()
        yield f"{file}: deleted; it was never finished"


def _half_lines(path: Path, _: Key) -> Iterator[str]:
    for file in (path / METRICS, path / TAIL):
        _files.read_bytes(file)
        if cut_half_a_line(file):
            yield f"{file}: half a line dropped from its end"


def _metrics(path: Path, key: Key) -> Iterator[str]:
    """Set aside the lines that do not check out or come twice, and say in their place that they are lost."""
    file, floor = path / METRICS, _floor(path, key)["lines"]
    found = read_metrics(path, key, floor)
    if not found.damaged:
        return
    sound, damaged = _sorted_out(file, key)
    mended = b"".join(_with_gaps(sound, key, max(floor, found.lines)))
    if parse_metrics(file, mended, key, floor).damaged:
        return  # the beginning of an attempt is gone: nobody can say what its readings supersede
    if damaged:
        place = set_aside(path, file, b"".join(damaged))
        yield f"{file}: {len(damaged)} damaged lines moved to {place}"
    _files.atomic_write(file, mended)
    yield f"{file}: rewritten with its {len(sound)} sound lines, and a note where others are lost"


def _sorted_out(file: Path, key: Key) -> tuple[dict[int, bytes], list[bytes]]:
    """Sound lines by number, and the others. Of two different lines with one number neither can be believed."""
    sound: dict[int, bytes] = {}
    damaged: list[bytes] = []
    disputed: set[int] = set()
    for position, line in enumerate(_files.read_bytes(file).splitlines(keepends=True)):
        number = _number(line, position, key)
        if number is None or number in sound or number in disputed:
            damaged.append(line)
        else:
            sound[number] = line
        if number is not None and sound.get(number, line) != line:
            damaged.append(sound.pop(number))
            disputed.add(number)
    return sound, damaged


def _number(line: bytes, position: int, key: Key) -> int | None:
    try:
        number = unseal(line.rstrip(b"\n"), key or 0).get("n")
    except ValueError:
        return None
    if key is None:
        return position
    return number if type(number) is int and 0 <= number < MOST_STEPS else None


def _with_gaps(sound: dict[int, bytes], key: Key, floor: int) -> Iterator[bytes]:
    expected = 0
    for number, line in sorted(sound.items()):
        if number > expected:
            yield _lost(expected, number, key)
        yield line
        expected = max(expected, number + _lines_of(line))
    if expected < floor:
        yield _lost(expected, floor, key)


def _lost(first: int, end: int, key: Key) -> bytes:
    return seal({"n": first, "kind": "lost", "lines": end - first}, key=key or 0)


def _lines_of(line: bytes) -> int:
    """How many numbers a line takes: an earlier repair's note takes those of the lines it stands for."""
    lines = parse(line).get("lines", 1) if b'"kind":"lost"' in line else 1
    return lines if type(lines) is int else 1


def _tail(path: Path, key: Key) -> Iterator[str]:
    """Set aside the rows that do not check out, and number the rest anew: the manifest counts the lost ones."""
    file, floor, manifest = path / TAIL, _floor(path, key)["rows"], read_manifest(path, key)
    try:
        read_rollouts(path, key, floor)
        return
    except RecordError:
        rows, damaged = _rows(file, key, manifest.rows)
    total = max(floor, manifest.rows + len(rows) + len(damaged), *(row + 1 for row in rows))
    if total - manifest.rows - len(rows) > MOST_LOST:
        return  # a row number that no run reaches
    base = total - len(rows)
    if damaged:
        place = set_aside(path, file, b"".join(damaged))
        yield f"{file}: {len(damaged)} damaged rows moved to {place}"
    renumbered = [{**record, "row": number} for number, (_, record) in enumerate(sorted(rows.items()), base)]
    # the tail first: were the repair cut off here, it would find the same rows missing and go on
    _files.atomic_write(file, b"".join(seal(record, key=key or 0) for record in renumbered))
    write_manifest(path, key, manifest._replace(lost_rows=manifest.lost_rows + base - manifest.rows))
    yield f"{file}: rewritten with its {len(rows)} sound rows; {MANIFEST} counts {base - manifest.rows} lost"


def _rows(file: Path, key: Key, committed: int) -> tuple[dict[int, dict[str, Any]], list[bytes]]:
    """Sound rows that no part has, by number, and the lines that are none."""
    rows: dict[int, dict[str, Any]] = {}
    damaged: list[bytes] = []
    for line in _files.read_bytes(file).splitlines(keepends=True):
        try:
            record = unseal(line.rstrip(b"\n"), key or 0)
            row = row_number(record)
            rows_table([record])
        except ValueError:
            damaged.append(line)
            continue
        if row in rows and rows[row] != record:
            damaged.append(line)
        elif row >= committed:
            rows[row] = record
    return rows, damaged


def _unlisted(path: Path, key: Key) -> Iterator[str]:
    yield from clear_unlisted(path, read_rollouts(path, key))


def _status(path: Path, key: Key) -> Iterator[str]:
    """State how many lines and rows there are. Whether the run was done nobody can say: it counts as stopped."""
    if (path / STATUS).exists() and not (path / STATUS).is_file():
        return  # a folder or a pipe is not ours to replace
    try:
        read_status(path, key)
        return
    except RecordError:
        metrics, rollouts = read_metrics(path, key), read_rollouts(path, key)
    if metrics.damaged:
        return
    steps = [row["step"] for _, row in metrics.readings if row["kind"] == "train"]
    rows = rollouts.manifest.rows + len(rollouts.recent)
    status = {"state": "stopped", "step": max(steps, default=0), "lines": metrics.lines, "rows": rows}
    write_status(path, key or 0, status)
    yield f"{path / STATUS}: rebuilt; the run counts as stopped"


def _floor(path: Path, key: Key) -> dict[str, Any]:
    try:
        return read_status(path, key)
    except RecordError:
        return {"lines": 0, "rows": 0}
