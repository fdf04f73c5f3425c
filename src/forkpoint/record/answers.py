"""A folder of what a model wrote: it says what was asked of which model, goes on where it stopped, or refuses.

One sealed JSON document stands beside the files of lines. It is written before the first line, so that lines of other
settings or another model never get among them. One process at a time writes the folder.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forkpoint import __version__
from forkpoint.record._begin import identity
from forkpoint.record._lock import Lock
from forkpoint.record.documents import read_document, write_document

SCHEMA = 2
"""1 had lines without a checksum"""
MADE_BY = {"weights": "other weights", "tokenizer": "another tokenizer or chat template"}
"""members of a document that say what wrote the lines -> what an error calls others"""
REMEDY = "replace them with --overwrite, or choose another --out"


@dataclass(frozen=True)
class AnswerFolder:
    """The folder, before a model is loaded."""

    path: Path
    document: str
    """name of the document in it"""
    lines: Sequence[str]
    """patterns of the files of lines"""
    asked: Mapping[str, Any]
    """what decides the lines, as JSON has it"""
    holds: str = "answers"
    """what an error calls the lines"""
    overwrite: bool = False
    """whether ``begin`` removes what is there"""

    def ready(self) -> None:
        """Raises ValueError, in one line, where the folder holds lines of other settings that are to stay."""
        if self.overwrite or not self._written():
            return
        file = self.path / self.document
        if not file.exists():
            raise ValueError(f"{self.path}: holds {self.holds} without {self.document}; {REMEDY}")
        stored = read_document(file)
        if stored.get("schema") != SCHEMA:
            raise ValueError(f"{self.path}: holds {self.holds} as another version of forkpoint writes them; {REMEDY}")
        stored = stored.get("asked", {})
        for name, value in self.asked.items():
            if stored.get(name) != value:
                what = f"{name} = {stored.get(name)}, and {name} = {value} is asked for"
                raise ValueError(f"{self.path}: holds {self.holds} with {what}; give the same settings, {REMEDY}")

    @contextlib.contextmanager
    def begin(self, weights: Any, tokenizer: Any, **about: Any) -> Iterator[dict[str, Any]]:
        """The document, as it is or newly written; enter it when nothing else can be refused any more.

        Until it is left no other process can enter it. Raises ValueError where the document is of other ``weights`` or
        another ``tokenizer``, or the folder cannot be written, and RecordError where another process writes it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_be_written(error) from error
        lock = Lock(self.path)
        try:
            # again: another process may have come and gone
            self.ready()
            yield self._begun({"weights": weights, "tokenizer": tokenizer}, about)
        finally:
            lock.release()

    def stored(self, name: str) -> Any:
        """A member of the document that is to stay; None where there is none."""
        return None if self.overwrite or not self._written() else read_document(self.path / self.document).get(name)

    def done(self, begun: Mapping[str, Any], **found: Any) -> None:
        write_document(self.path / self.document, {**begun, "state": "done", **found})

    def _begun(self, made_by: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
        file, written = self.path / self.document, self._written()
        if written and not self.overwrite:
            found = read_document(file)
            for name, value in made_by.items():
                if found.get(name) != json.loads(json.dumps(value)):
                    what = f"holds {self.holds} of {MADE_BY[name]} than the model has now"
                    raise ValueError(f"{self.path}: {what}; {REMEDY}")
            return found
        begun = {"schema": SCHEMA, "forkpoint": __version__, "asked": dict(self.asked), **made_by, **about}
        begun |= {"environment": identity()["environment"], "state": "begun"}
        try:
            for old in written:
                old.unlink()
            write_document(file, begun)
        except OSError as error:
            raise self._cannot_be_written(error) from error
        return begun

    def _cannot_be_written(self, error: OSError) -> ValueError:
        return ValueError(f"{self.path}: cannot be written ({error.strerror}); choose another --out")

    def _written(self) -> list[Path]:
        """The files with a line in them: a document without any, as a refused attempt leaves it, binds nobody."""
        files = [file for pattern in self.lines for file in sorted(self.path.glob(pattern))]
        return [file for file in files if file.stat().st_size]
