"""JSON records that carry their own checksum."""

import json
import math
import re
import zlib
from collections.abc import Mapping
from typing import Any

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""JSON has no such numbers; they are stored as these strings"""
SEAL = re.compile(rb',\n? ?"crc": ?"([0-9a-f]{8})"\n?\}\n?\Z')


def key_of(run_id: str) -> int:
    """What binds a checksum to one run: the crc32 of the run's id, where the crc32 of a line goes on from.

    >>> zlib.crc32(b"abc" + b"{}") == zlib.crc32(b"{}", key_of("abc"))
    True
    """
    return zlib.crc32(run_id.encode())


def seal(record: Mapping[str, Any], *, key: int = 0, indent: int | None = None) -> bytes:
    """The record as JSON text whose last member ``crc`` is the crc32 of the text without that member.

    With a run's ``key`` it is the crc32 of the run's id followed by that text: a line moved to another run shows.

    ASCII only: a lone surrogate or a line separator inside a string cannot break the file.
    Raises ValueError naming the field that JSON cannot hold.

    >>> print(seal({"step": 1}).decode(), end="")
    {"step":1,"crc":"1119ad91"}
    >>> format(zlib.crc32(b'{"step":1}'), "08x")
    '1119ad91'
    """
    text = _dumps(record, indent)[:-1].rstrip().encode("ascii")
    crc = f"{zlib.crc32(text + b'}', key):08x}".encode()
    if indent is None:
        return text + b',"crc":"' + crc + b'"}\n'
    return text + b",\n" + b" " * indent + b'"crc": "' + crc + b'"\n}\n'


def unseal(data: bytes, key: int = 0) -> dict[str, Any]:
    """The record of one sealed text, without ``crc``. Raises ValueError that says what is wrong.

    >>> unseal(seal({"step": 1, "loss": float("nan")}))
    {'step': 1, 'loss': 'nan'}
    """
    found = SEAL.search(data)
    if not found:
        raise ValueError("has no checksum, so it was cut or changed")
    text = data[: found.start()] + b"}"
    if zlib.crc32(text, key) != int(found[1], 16):
        raise ValueError("checksum does not match" + (", so it was changed or is another run's" if key else ""))
    return parse(text)


def parse(text: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else, however deep or long."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({type(error).__name__})") from error
    if not isinstance(record, dict):
        raise ValueError(f"holds {type(record).__name__}, not an object")
    return record


def _dumps(record: Mapping[str, Any], indent: int | None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        return json.dumps(record, indent=indent, separators=separators, allow_nan=False)
    except (TypeError, ValueError):
        # slow path: tag what JSON cannot hold, or name the field that nothing can
        return json.dumps(plain(record), indent=indent, separators=separators, allow_nan=False)


def plain(value: Any, field: str = "record") -> Any:
    """The value as JSON types, non-finite numbers as strings.

    >>> plain({"low": (0.2, float("-inf"))})
    {'low': [0.2, '-inf']}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{field}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{field}[{i}]") for i, item in enumerate(value)]
    raise ValueError(
        f"{field} is {type(value).__name__}, which JSON cannot hold; give text, numbers, lists or mappings"
    )
