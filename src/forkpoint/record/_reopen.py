"""What a killed or stopped writer left, made ready to go on from."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from forkpoint.record import _files
from forkpoint.record._error import AnotherConfig, RecordError
from forkpoint.record._header import key_in
from forkpoint.record._leftovers import clear_unlisted, cut_half_a_line, temporaries
from forkpoint.record._metrics import read_metrics
from forkpoint.record._replay import Replay, entry_of
from forkpoint.record._rollouts import Rollouts, read_rollouts, tail_line
from forkpoint.record._seal import plain, seal
from forkpoint.record._store import Standing
from forkpoint.record.read import Run, open_run
from forkpoint.record.schema import HEADER, METRICS, SCHEMA, TAIL

ANOTHER = "begin another run with --out"


def reopen(
    path: Path, step: int, *, config: Mapping[str, Any] | None, ignore: Collection[str]
) -> tuple[Standing, Replay]:
    """Where the run stands, and what it recorded past ``step``. What is refused is refused before anything changes."""
    run = open_run(path)
    if run.header["schema"] < SCHEMA:
        what = f"is {run.header['schema']}, which can be read but not resumed"
        raise RecordError(what, file=path / HEADER, field="schema", remedy=ANOTHER)
    if config is not None:
        _refuse_another_config(run, config, ignore)
    if step > run.steps:
        what = f"ends at step {run.steps}, before step {step} of the checkpoint"
        remedy = f"resume from a checkpoint at or before step {run.steps}, or {ANOTHER}"
        raise RecordError(what, file=path / METRICS, remedy=remedy)
    key, status = key_in(run.header), run.status
    assert key is not None, "schema 2 has keys"
    found = read_rollouts(path, key, status["rows"])
    replay = Replay(
        len(run.attempts),
        step=step,
        retired_step=found.manifest.retired_step,
        readings=[entry_of(row) for row in run.metrics() if row["step"] >= step],
        # few at a time: a completion of thousands of tokens is megabytes of Python objects
        rows=[
            entry_of(row)
            for batch in run.table(steps=(step, None)).to_batches(max_chunksize=16)
            for row in batch.to_pylist()
        ],
    )
    _clean(path, key, found)
    return Standing(key, read_metrics(path, key).lines, found.manifest, found.recent), replay


def _refuse_another_config(run: Run, config: Mapping[str, Any], ignore: Collection[str]) -> None:
    recorded, given = dict(_flat(run.header["config"])), dict(_flat(plain(config)))
    for name in (*recorded, *given):
        parts = name.split(".")
        if any(".".join(parts[: i + 1]) in ignore for i in range(len(parts))):
            continue
        if recorded.get(name) != given.get(name) or (name in recorded) != (name in given):
            told = [repr(settings[name]) if name in settings else "absent" for settings in (recorded, given)]
            what, remedy = f"is {told[0]}, and the resumed run's is {told[1]}", f"resume with the same, or {ANOTHER}"
            raise AnotherConfig(what, file=run.path / HEADER, field=f"config.{name}", remedy=remedy)


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _clean(path: Path, key: int, found: Rollouts) -> None:
    cut_half_a_line(path / METRICS)
    cut_half_a_line(path / TAIL)
    if found.stale:
        rows = [tail_line(row, columns) for row, columns in enumerate(found.recent.to_pylist(), found.manifest.rows)]
        _files.atomic_write(path / TAIL, b"".join(seal(row, key=key) for row in rows))
    for file in temporaries(path):
        file.unlink()
    clear_unlisted(path, found)
