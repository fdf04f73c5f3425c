"""What a run's folder holds: the files, the columns of a recorded completion, and the check that rows fit them."""

import json
from collections.abc import Mapping, Sequence, Sized
from numbers import Real
from typing import Any

import pyarrow as pa

from forkpoint import catalog

SCHEMA = 2
"""version of the files in a run's folder; a reader refuses a newer one. In 1 the lines had no numbers, and checksums
were not bound to the run"""
HEADER = "run.json"
METRICS = "metrics.jsonl"
MANIFEST = "manifest.json"
STATUS = "status.json"
ROLLOUTS = "rollouts"
TAIL = "rollouts/tail.jsonl"
LOCK = ".lock"
DAMAGED = "damaged"
KINDS = ("train", "eval")
VERDICTS = ("correct", "wrong", "none")
"""``none`` is "no verdict" (a timeout, a crash of the checker), which is not "wrong" """

_TOKENS = pa.list_(pa.string())
_INTS = pa.list_(pa.int32())
_FLOATS = pa.list_(pa.float32())

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "kind": (pa.string(), "train or eval"),
    "step": (pa.int32(), "optimizer step that first used the completion; for eval, steps done before it"),
    "generation_step": (pa.int32(), "which call of the generator made it, counted from 0"),
    "update": (pa.int32(), "which update on this rollout the trainer's columns show, counted from 0"),
    "attempt": (pa.int32(), "set by the writer: 0; higher after a resume that replayed a step differently"),
    "prompt_id": (pa.string(), "identity of the problem within its task"),
    "group": (pa.int64(), "completions of one prompt in one generation share a number"),
    "sample": (pa.int32(), "place of the completion within its group"),
    "prompt": (pa.string(), "the prompt as text"),
    "text": (pa.string(), "the completion as text, without special tokens"),
    "tokens": (_TOKENS, "the completion's tokens as text, one per token id"),
    "token_ids": (_INTS, "the completion's token ids"),
    "logp_sampler": (_FLOATS, "log-prob of each token under the policy that sampled it, nats"),
    "logp_trainer": (_FLOATS, "log-prob of each token under the policy in training, nats"),
    "entropy": (_FLOATS, "full-softmax entropy at each token, nats"),
    "label": (pa.list_(pa.int8()), "role of each token: 0 other, 1 fork, 2 execution, 3 planning, 4 format"),
    "weight": (_FLOATS, "the method's weight on each token's loss"),
    "mark": (pa.list_(pa.bool_()), "tokens the method treats specially"),
    "advantage": (pa.float32(), "advantage of the completion"),
    "reward": (pa.float32(), "total reward"),
    "reward_parts": (pa.string(), "JSON object: reward function -> its share of the reward"),
    "verdict": (pa.string(), "correct, wrong, or none"),
    "verdict_reason": (pa.string(), "why, in a few words"),
    "traits": (pa.string(), "JSON object of what the task sees in the text: notation, number of tries"),
}
ROLLOUT_SCHEMA = pa.schema([pa.field(name, kind, metadata={"about": text}) for name, (kind, text) in COLUMNS.items()])
"""pyarrow schema of ``rollouts/part-*.parquet``; each field's metadata says what it holds"""

JSON_COLUMNS = ("reward_parts", "traits")
TEXT_COLUMNS = ("prompt", "text", "tokens")
"""what a completion says, and what it was asked; some records must not hold it"""
PER_TOKEN = tuple(name for name, (kind, _) in COLUMNS.items() if pa.types.is_list(kind))
FLOAT_COLUMNS = tuple(n for n, (kind, _) in COLUMNS.items() if kind in (_FLOATS, pa.float32()))


def rollout_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of ``ROLLOUT_SCHEMA``. ``kind`` and ``step`` are required; other columns may be absent or None.

    JSON columns take a mapping or JSON text. A lone surrogate in text becomes U+FFFD, which UTF-8 can hold.
    Raises ValueError naming row and column.

    >>> rollout_table([{"kind": "eval", "step": 0, "traits": {"tries": 2}}]).column("traits").to_pylist()
    ['{"tries": 2}']
    """
    checked = [_row(row, number) for number, row in enumerate(rows)]
    columns = {name: [row.get(name) for row in checked] for name in COLUMNS}
    return pa.table([_array(name, values) for name, values in columns.items()], schema=ROLLOUT_SCHEMA)


def _row(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    for name in row:
        if name not in COLUMNS:
            raise ValueError(f"rollout row {number}: no column {name!r}; {catalog.suggest(name, list(COLUMNS))}")
    _check_choice(row, number, "kind", KINDS)
    if row.get("step") is None:
        raise ValueError(f"rollout row {number}: step is missing; give the optimizer step")
    if isinstance(row["step"], Real) and row["step"] < 0:
        raise ValueError(f"rollout row {number}: step is {row['step']}; optimizer steps count from 0")
    if row.get("verdict") is not None:
        _check_choice(row, number, "verdict", VERDICTS)
    _check_lengths(row, number)
    return {name: _clean(name, value, number) for name, value in row.items()}


def _check_choice(row: Mapping[str, Any], number: int, name: str, choices: Sequence[str]) -> None:
    if row.get(name) not in choices:
        raise ValueError(f"rollout row {number}: {name} is {row.get(name)!r}; choose {' or '.join(choices)}")


def _check_lengths(row: Mapping[str, Any], number: int) -> None:
    lengths = {name: len(row[name]) for name in PER_TOKEN if isinstance(row.get(name), Sized)}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            f"rollout row {number}: columns per token differ in length ({found}); give one entry per token"
        )


def _clean(name: str, value: Any, number: int) -> Any:
    if name in JSON_COLUMNS and isinstance(value, Mapping):
        try:
            return json.dumps(value, default=float)  # numbers of NumPy
        except (TypeError, ValueError) as error:
            raise ValueError(f"rollout row {number}: {name} cannot be JSON ({error}); give text and numbers") from error
    if isinstance(value, str):
        return _utf8(value)
    if name == "tokens" and value is not None:
        return [_utf8(token) for token in value]
    return value


def _utf8(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _array(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, COLUMNS[name][0])
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"rollout column {name!r} does not hold {COLUMNS[name][0]} ({reason}); convert it first"
        ) from error
