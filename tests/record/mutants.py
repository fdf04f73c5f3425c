"""Ways in which a run's folder can be wrong. ``mutate(folder, seed, other=...)`` does one of them, the same for a seed.

Accidents (a flipped byte, a lost file, another run's file) and forgeries, whose checksum is right and whose content is
not what a writer writes. A forgery that could have been written, such as another plausible number, is no mutant:
nothing can tell it.
"""

import json
import os
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forkpoint.record._seal import key_of, seal

LINES = ("metrics.jsonl", "rollouts/tail.jsonl")
DOCUMENTS = ("run.json", "status.json", "manifest.json")
JUNK: tuple[Any, ...] = (None, True, -1, 2**63, 10**400, "x", "", [], {}, [[]], {"a": {}}, "../../etc/passwd", "nan")
DEEP = b"[" * 100_000
Mutation = Callable[[Path, Path, random.Random], str]


def files(run: Path) -> list[str]:
    parts = sorted(f"rollouts/{part.name}" for part in (run / "rollouts").glob("part-*.parquet"))
    return [*DOCUMENTS, *LINES, *parts]


def mutate(run: Path, seed: int, *, other: Path) -> str:
    """Damage the run and say how; ``other`` is a run of the same shape."""
    chance = random.Random(seed)
    return MUTATIONS[seed % len(MUTATIONS)](run, other, chance)


def flipped(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(files(run))
    data = bytearray((run / name).read_bytes())
    place, bit = chance.randrange(len(data)), chance.randrange(8)
    data[place] ^= 1 << bit
    (run / name).write_bytes(data)
    return f"bit {bit} of byte {place} of {name}"


def overwritten(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(files(run))
    data = bytearray((run / name).read_bytes())
    place, length = chance.randrange(len(data)), chance.randrange(1, 600)
    data[place : place + length] = bytes(len(data[place : place + length]))
    (run / name).write_bytes(data)
    return f"{length} zeros from byte {place} of {name}"


def truncated(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(files(run))
    data = (run / name).read_bytes()
    length = chance.randrange(len(data))
    (run / name).write_bytes(data[:length])
    return f"{name} cut to {length} bytes"


def swapped(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(files(run))
    shutil.copy(other / name, run / name)
    return f"{name} of another run"


def missing(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(files(run))
    (run / name).unlink()
    return f"no {name}"


def appended(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(files(run))
    junk = chance.choice(
        [b"\n", b"{}\n", b"\x00" * 50, b"null\n", DEEP + b"\n", b'{"crc":"00000000"}\n', b"\xff\xfe\n"]
    )
    with (run / name).open("ab") as file:
        file.write(junk)
    return f"{junk[:20]!r} at the end of {name}"


def lines_changed(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(LINES)
    lines = (run / name).read_bytes().splitlines(keepends=True)
    i, j = chance.sample(range(len(lines)), 2)
    how = chance.choice(["twice", "swapped", "gone", "moved", "from elsewhere", "junk before"])
    if how == "twice":
        lines.insert(j, lines[i])
    elif how == "swapped":
        lines[i], lines[j] = lines[j], lines[i]
    elif how == "gone":
        del lines[i]
    elif how == "moved":
        lines.insert(j, lines.pop(i))
    elif how == "from elsewhere":
        lines[i] = (other / name).read_bytes().splitlines(keepends=True)[i]
    else:
        lines.insert(i, chance.choice([b"\n", b"{}\n", DEEP + b"\n"]))
    (run / name).write_bytes(b"".join(lines))
    return f"lines {i + 1} and {j + 1} of {name}: {how}"


def replaced(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice(files(run))
    path = run / name
    how = chance.choice(["folder", "pipe", "link to itself", "link to nowhere", "link to another run", "endless"])
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    else:
        places = {"link to itself": path, "link to another run": other / name, "endless": Path("/dev/zero")}
        path.symlink_to(places.get(how, run / "nowhere"))
    return f"{name} is a {how}"


def parts_moved(run: Path, other: Path, chance: random.Random) -> str:
    first, second = chance.sample([name for name in files(run) if name.endswith(".parquet")], 2)
    if chance.random() < 0.5:
        data = (run / first).read_bytes()
        shutil.copy(run / second, run / first)
        (run / second).write_bytes(data)
        return f"{first} and {second} swapped"
    shutil.copy(run / first, run / f"rollouts/part-{chance.randrange(10**6):06d}.parquet")
    return f"{first} twice"


def manifest_forged(run: Path, other: Path, chance: random.Random) -> str:
    record = unsealed(run / "manifest.json")
    how = chance.choice(["junk", "size", "order", "twice", "fewer", "counts", "shape"])
    part = chance.choice(record["parts"])
    field = chance.choice(sorted(part))
    if how == "junk":
        part[field] = chance.choice(JUNK)
    elif how == "size":
        part[chance.choice(["bytes", "rows", "first_step", "last_step"])] += chance.choice([-1, 1, 2**40])
    elif how == "order":
        record["parts"].reverse()
    elif how == "twice":
        record["parts"].append(part)
    elif how == "fewer":
        record["parts"].remove(part)
    elif how == "counts":
        record[chance.choice(["retired_rows", "lost_rows"])] = chance.choice([*JUNK, 1, 3])
    else:
        record["parts"] = chance.choice(JUNK)
    write_sealed(run, "manifest.json", record)
    return f"manifest forged: {how} {field}"


def header_forged(run: Path, other: Path, chance: random.Random) -> str:
    record = unsealed(run / "run.json")
    field = chance.choice(sorted(set(record) - {"forkpoint"}))
    junk = chance.choice([*JUNK, json.loads("[" * 400 + "]" * 400), {"a": json.loads('{"a":' * 300 + "1" + "}" * 300)}])
    inner = record[field] if isinstance(record[field], dict) and record[field] and chance.random() < 0.5 else record
    name = chance.choice(sorted(inner)) if inner is not record else field
    if type(junk) is type(inner[name]) or field in ("config", "environment"):
        junk = 7.5  # of a type that no header has there, or a setting like any other
    inner[name] = junk
    (run / "run.json").write_bytes(seal(record, indent=1))
    return f"header forged: {field}.{name} is {str(junk)[:30]}"


def status_forged(run: Path, other: Path, chance: random.Random) -> str:
    record = unsealed(run / "status.json")
    field, junk = chance.choice(sorted(record)), chance.choice([junk for junk in JUNK if junk != -1])
    record[field] = junk
    write_sealed(run, "status.json", record)
    return f"status forged: {field} is {str(junk)[:30]}"


def line_forged(run: Path, other: Path, chance: random.Random) -> str:
    """A sealed line with a value of a type or size that no writer writes."""
    name = chance.choice(LINES)
    lines = (run / name).read_bytes().splitlines(keepends=True)
    i = chance.randrange(len(lines))
    record = json.loads(lines[i])
    record.pop("crc")
    fields = ["kind", "step", "n", "reward"] if name == LINES[0] else ["kind", "step", "row", "entropy", "token_ids"]
    field = chance.choice(fields)
    record[field] = chance.choice(
        [None, True, 10**400, "x", {"a": {}}, [[]], -1] if field != "reward" else [None, "x", []]
    )
    if field in ("entropy", "token_ids") and record[field] is None:
        record[field] = "x"  # a column may be absent
    lines[i] = seal(record, key=key(run))
    (run / name).write_bytes(b"".join(lines))
    return f"line {i + 1} of {name} forged: {field} is {str(record[field])[:30]}"


def deep(run: Path, other: Path, chance: random.Random) -> str:
    name = chance.choice([*DOCUMENTS, *LINES])
    text = b'{"n":0,"kind":"train","step":' + DEEP + b"]" * len(DEEP) + b"}"
    crc = f"{zlib.crc32(text, key(run)):08x}".encode()
    (run / name).write_bytes(text[:-1] + b',"crc":"' + crc + b'"}\n')
    return f"{name} nested without end"


def unsealed(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_bytes())
    record.pop("crc")
    return record


def write_sealed(run: Path, name: str, record: dict[str, Any]) -> None:
    (run / name).write_bytes(seal(record, key=key(run), indent=1))


def key(run: Path) -> int:
    return key_of(json.loads((run / "run.json").read_bytes())["run_id"])


MUTATIONS: tuple[Mutation, ...] = (
    flipped,
    overwritten,
    truncated,
    swapped,
    missing,
    appended,
    lines_changed,
    replaced,
    parts_moved,
    manifest_forged,
    header_forged,
    status_forged,
    line_forged,
    deep,
)
