"""Messages between a pool and its workers: four bytes of length, then that many of JSON. Never pickle."""

import json
import socket
import struct
import time
from typing import Any

LARGEST = 64 * 2**20
"""bytes; what the pool itself sends. Answers are held to less, see ``receive``"""
LARGEST_ANSWER = 2**20


class Broken(Exception):
    """The other side closed the connection, or wrote what is no message."""


def send(connection: socket.socket, message: dict[str, Any], *, deadline: float | None = None) -> None:
    """Raises Broken where nobody reads any more, TimeoutError past ``deadline`` (``time.monotonic``, s)."""
    data = json.dumps(message).encode("ascii")
    try:
        connection.settimeout(_left(deadline))
        connection.sendall(struct.pack("!I", len(data)) + data)
    except TimeoutError:
        raise
    except OSError as error:
        raise Broken(str(error)) from error


def receive(
    connection: socket.socket, *, deadline: float | None = None, largest: int = LARGEST_ANSWER
) -> dict[str, Any]:
    """The next message. Raises Broken, or TimeoutError past ``deadline``, also where bytes drip in one by one."""
    (length,) = struct.unpack("!I", _read(connection, 4, deadline))
    if length > largest:
        raise Broken(f"a message of {length} bytes")
    try:
        message = json.loads(_read(connection, length, deadline))
    except (ValueError, RecursionError) as error:
        raise Broken("bytes that are no message") from error
    if not isinstance(message, dict):
        raise Broken("a message that is no object")
    return message


def _read(connection: socket.socket, count: int, deadline: float | None) -> bytes:
    parts: list[bytes] = []
    while count:
        connection.settimeout(_left(deadline))
        try:
            part = connection.recv(min(count, 2**16))
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken(str(error)) from error
        if not part:
            raise Broken("")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
