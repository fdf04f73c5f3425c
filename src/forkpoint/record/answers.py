"""A folder of what a model wrote: it says what was asked of which weights, goes on where it stopped, or refuses.

One sealed JSON document stands beside the files of lines. It is written before the first line, so that lines of other
settings or other weights never get among them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forkpoint import __version__
from forkpoint.record._begin import identity
from forkpoint.record.documents import read_document, write_document

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
        file = self.path / self.document
        if self.overwrite:
            return
        if not file.exists():
            if self._written():
                raise ValueError(f"{self.path}: holds {self.holds} without {self.document}; {REMEDY}")
            return
        stored = read_document(file).get("asked", {})
        for name, value in self.asked.items():
            if stored.get(name) != value:
                what = f"{name} = {stored.get(name)}, and {name} = {value} is asked for"
                raise ValueError(f"{self.path}: holds {self.holds} with {what}; give the same settings, {REMEDY}")

    def begin(self, weights: Any, **about: Any) -> dict[str, Any]:
        """The document, as it is or newly written; call it when nothing else can be refused any more.

        Raises ValueError where it is of other ``weights``, or the folder cannot be written.
        """
        file = self.path / self.document
        if self.overwrite:
            for old in [file, *self._written()]:
                old.unlink(missing_ok=True)
        if file.exists():
            found = read_document(file)
            if found.get("weights") != json.loads(json.dumps(weights)):
                raise ValueError(f"{self.path}: holds {self.holds} of other weights than the model has now; {REMEDY}")
            return found
        begun = {"schema": 1, "forkpoint": __version__, "asked": dict(self.asked), "weights": weights, **about}
        begun |= {"environment": identity()["environment"], "state": "begun"}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_document(file, begun)
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from error
        return begun

    def stored(self, name: str) -> Any:
        """A member of the document that is to stay; None where there is none."""
        file = self.path / self.document
        return None if self.overwrite or not file.exists() else read_document(file).get(name)

    def done(self, begun: Mapping[str, Any], **found: Any) -> None:
        write_document(self.path / self.document, {**begun, "state": "done", **found})

    def _written(self) -> list[Path]:
        return [file for pattern in self.lines for file in sorted(self.path.glob(pattern))]
