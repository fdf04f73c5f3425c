"""Small files that are replaced whole and, where they are JSON, carry their checksum."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forkpoint.record._files import atomic_write, read_document
from forkpoint.record._seal import seal

__all__ = ["read_document", "write_bytes", "write_document"]

write_bytes = atomic_write


def write_document(path: str | Path, values: Mapping[str, Any]) -> None:
    """Replace a file by one sealed JSON object; non-finite numbers become "nan", "inf", "-inf".

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "state.json"
    >>> write_document(path, {"step": 3, "loss": float("nan")})
    >>> read_document(path)
    {'step': 3, 'loss': 'nan'}
    """
    atomic_write(Path(path), seal(values, indent=1))
