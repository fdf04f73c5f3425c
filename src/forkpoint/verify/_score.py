"""The one way to score completions of a task: in-process where the task gives a reason, else in a pool."""

import json
import os
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

from forkpoint.verify._limits import Limits, size
from forkpoint.verify._verdict import Verdict, none, raised, stated
from forkpoint.verify.pool import Pool, named


def score(task: Any, problems: Sequence[Any], texts: Sequence[str], *, limits: Limits | None = None) -> list[Verdict]:
    """One verdict per (problem, text), in order; never raises for what ``task.score`` does.

    A task that states why its score cannot hang, in ``in_process``, is scored here; any other in a pool that is kept
    for the next call. Workers build the task anew, from its class and its fields, and the problem from its prompt.

    Raises ValueError for a task that cannot be built elsewhere, and PoolError where no worker can load it.
    """
    bounds: Limits = limits or getattr(task, "limits", None) or Limits()
    pairs = list(zip(problems, texts, strict=True))
    if getattr(task, "in_process", ""):
        return [_here(task, problem, text, bounds) for problem, text in pairs]
    pool = _pool(named(type(task)), _settings(task), bounds, os.getpid())
    return pool.score([(problem.prompt, text) for problem, text in pairs])


def _here(task: Any, problem: Any, text: str, limits: Limits) -> Verdict:
    if size(text) > limits.max_bytes:
        return Verdict("wrong", f"longer than {limits.max_bytes} bytes")
    try:
        verdict = task.score(problem, text)
    except Exception as error:
        return none(raised(error))
    if type(verdict) is not Verdict:
        return none(f"the scorer returned {type(verdict).__name__}, not a Verdict")
    return stated(verdict.outcome, verdict.reason)


def _settings(task: Any) -> str:
    """The fields of a task, as JSON. Raises ValueError where they are not all that makes it."""
    name = getattr(task, "name", type(task).__name__)
    if not is_dataclass(task) and vars(task):
        raise ValueError(f"task {name}: make it a dataclass, so that a worker can build it; or state in_process")
    values = {f.name: getattr(task, f.name) for f in fields(task) if f.init} if is_dataclass(task) else {}
    try:
        settings = json.dumps(values, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"task {name}: a field is no JSON value ({error}); or state in_process") from None
    for field, value in json.loads(settings).items():
        # such as a mapping with numbers for keys, which JSON turns into text: it would score by other settings
        if _tuples(value) != _tuples(values[field]):
            raise ValueError(f"task {name}: field {field} does not come back from JSON as it is; or state in_process")
    return settings


# the process id: a fork of this process must not use these workers
@lru_cache(maxsize=8)
def _pool(task: str, settings: str, limits: Limits, process: int) -> Pool:
    return Pool(task_scorer, settings={"task": task, "settings": json.loads(settings)}, limits=limits)


def task_scorer(task: str, settings: dict[str, Any]) -> Any:
    """In a worker: ``(prompt, text) -> Verdict`` of a task built from its class and fields."""
    from forkpoint.verify._worker import load

    built = load(task, {name: _tuples(value) for name, value in settings.items()})
    return lambda prompt, text: built.score(built.read(prompt), text)


def _tuples(value: Any) -> Any:
    """JSON has no tuples; frozen tasks hold nothing else."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
