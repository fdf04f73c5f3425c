"""What is wrong with a record, as one line."""

from pathlib import Path


class RecordError(Exception):
    """A run on disk that is missing, damaged, or lacks what was asked for.

    >>> print(RecordError("checksum does not match", file="metrics.jsonl", field="line 3", remedy="delete it"))
    metrics.jsonl: line 3: checksum does not match; delete it
    """

    def __init__(self, what: str, *, file: str | Path, remedy: str, field: str = "") -> None:
        self.what, self.file, self.field, self.remedy = what, str(file), field, remedy
        place = ": ".join(part for part in (self.file, field) if part)
        # a file name may hold a line break, and an error is one line
        super().__init__(" ".join(f"{place}: {what}; {remedy}".splitlines()))


class AnotherConfig(RecordError):
    """The run is sound, and it is another one than was asked to go on."""
