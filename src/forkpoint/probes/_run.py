"""``forkpoint probe``: samples and findings of one model or several, each in a folder that goes on where it stopped.

OUT/probe.json       what was asked of which weights, on what, and every reading with its interval
OUT/samples.jsonl    the completions, one line per problem
OUT/probe.html       the page; with several models beside their folders OUT/MODEL
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forkpoint.policies import fingerprint, load, on_accelerator, prompts_by, short_name
from forkpoint.policies.chat import Chatting
from forkpoint.probes import Reading, Samples, readings
from forkpoint.probes._asked import Asked
from forkpoint.probes._draw import Show, draw
from forkpoint.probes._plugged import plugged
from forkpoint.record.answers import AnswerFolder
from forkpoint.tasks import task_of

DOCUMENT, SAMPLES, PAGE = "probe.json", "samples.jsonl", "probe.html"
Functions = Mapping[str, str | Callable[..., Any]]


@dataclass(frozen=True)
class Probed:
    """One model's samples and findings."""

    name: str
    """as tables and the page call it"""
    asked: Asked
    folder: Path
    samples: Samples
    readings: Mapping[str, Reading]


def probe(
    models: Sequence[str],
    asked: Asked,
    out: Path,
    *,
    functions: Functions | None = None,
    overwrite: bool = False,
    show: Show | None = None,
) -> list[Probed]:
    """Draw from each model and read every probe; writes all but the page.

    ``functions`` are the ``scorer``, ``entailment`` and ``kernel`` of ``readings``. Raises ValueError, in one line, for
    no model, a model or task that is none, and a folder with samples of other settings or of another model; RecordError
    for a folder that another process writes.
    """
    if not models:
        raise ValueError("probe: name one model or several: 'tiny', a folder, or a Hub id")
    task_of(asked.task)  # a misspelt task or function is found before the first model is loaded
    for kind, function in (functions or {}).items():
        if function:
            plugged(kind, function)
    names = distinct([short_name(model) for model in models])
    folders = [out] if len(models) == 1 else [out / re.sub(r"[^\w.-]+", "-", name).strip("-") for name in names]
    return [
        _one(name, replace(asked, model=model), folder, functions or {}, overwrite, show)
        for name, model, folder in zip(names, models, folders, strict=True)
    ]


def distinct(names: Sequence[str]) -> list[str]:
    """
    >>> distinct(["tiny", "other", "tiny"])
    ['tiny', 'other', 'tiny (2)']
    """
    seen = [(name, names[: i + 1].count(name)) for i, name in enumerate(names)]
    return [name if count == 1 else f"{name} ({count})" for name, count in seen]


def _one(name: str, asked: Asked, folder: Path, functions: Functions, overwrite: bool, show: Show | None) -> Probed:
    place = AnswerFolder(folder, DOCUMENT, [SAMPLES], asdict(asked), "samples", overwrite)
    place.ready()
    model, tokenizer = load(asked.model)
    model = on_accelerator(model)
    tokenizer = Chatting(tokenizer, asked.model) if asked.chat else tokenizer
    with place.begin(fingerprint(model), prompts_by(tokenizer)) as begun:
        samples = draw((model, tokenizer, task_of(asked.task), asked), folder / SAMPLES, show=show)
        found = readings(samples, **functions)
        named = {kind: given if isinstance(given, str) else repr(given) for kind, given in functions.items() if given}
        place.done(begun, functions=named, readings=plain(found))
    return Probed(name, asked, folder, samples, found)


def plain(found: Mapping[str, Reading]) -> dict[str, Any]:
    """As JSON has it."""
    return {
        name: {
            "values": {key: value._asdict() for key, value in reading.values.items()},
            "per_problem": {key: list(numbers) for key, numbers in reading.per_problem.items()},
            "note": reading.note,
        }
        for name, reading in found.items()
    }
