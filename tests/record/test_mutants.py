"""The damage law: whatever is wrong with a run's folder, its numbers come out right or one line says what is wrong.

Right is: equal to the sound run's, or, where the files' last lines are gone as after a kill, its first rows, and never
fewer than ``status.json`` states. Every reader of a run is held to it, and ``doctor --repair`` as well.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mutants import MUTATIONS, key, mutate
from small_run import kill, rollout
from tests.conftest import counts

from forkpoint import forecasts
from forkpoint.record import RecordError, Run, RunWriter, open_run
from forkpoint.record._seal import seal, unseal
from forkpoint.record.check import check
from forkpoint.record.repair import repair

STEPS = 23


@pytest.fixture
def sound(create: Callable[..., RunWriter]) -> Path:
    return written(create, "sound", 1.0)


@pytest.fixture
def other(create: Callable[..., RunWriter]) -> Path:
    return written(create, "other", 1.001)


def written(create: Callable[..., RunWriter], name: str, factor: float) -> Path:
    """Three parts, rows in the tail, and evaluations enough for a forecast."""
    writer = create(name, part_every=6, definitions={"accuracy": {"estimator": "exact", "unit": "1"}})
    for step in range(STEPS + 1):
        if step % 2 == 0:
            entropy = factor * (1.2 - step / 30)
            writer.metrics("eval", step, {"accuracy": 0.9 - 0.2 * entropy, "entropy/full_sequence_mean": entropy})
        if step:
            writer.rollouts([rollout(step, 0) | {"reward": factor * step}])
            writer.metrics("train", step, {"reward": factor * step, "entropy/full": factor * (1.2 - step / 30)})
    kill(writer)
    return writer.path


def rows_of(run: Run) -> list[list[str]]:
    """Everything a reader can ask for, as text, so that nan equals nan."""
    metrics = [repr(row) for row in run.metrics()]
    for kind in ("train", "eval"):
        for name in run.columns(kind):
            run.column(name, kind)
    rollouts = [repr(row) for row in run.rollouts()]
    for step in range(0, STEPS, 5):
        assert {repr(row) for row in run.rollouts(step)} <= set(rollouts)
    assert run.table().num_rows == len(rollouts)
    return [metrics, rollouts]


def outcome(read: Callable[[], Any]) -> Any:
    """What came out, or the error, which must be one line of ours."""
    try:
        return read()
    except RecordError as error:
        assert "\n" not in str(error) and error.file and error.what and error.remedy
        return error
    except ValueError as error:
        assert type(error).__module__.startswith("forkpoint") and "\n" not in str(error), repr(error)
        return error


def law_of(run: Run) -> list[Any]:
    return [(fit.name, fit.parameters, fit.ceiling, fit.ceiling_interval) for fit in forecasts.forecast(run)]


def page_of(run: Run) -> str:
    from forkpoint.report import page

    return page([run])


@pytest.mark.parametrize("mutation", range(len(MUTATIONS)), ids=[mutation.__name__ for mutation in MUTATIONS])
def test_a_mutant_is_read_right_or_refused_in_one_line(mutation, sound, other, tmp_path):
    metrics, rollouts = rows_of(open_run(sound))
    status = open_run(sound).status
    law = law_of(open_run(sound))
    for number in range(counts(12, 358)):
        path = shutil.copytree(sound, tmp_path / "mutant")
        told = mutate(path, number * len(MUTATIONS) + mutation, other=other)
        seen = outcome(lambda path=path: rows_of(open_run(path)))
        if not isinstance(seen, Exception):
            assert seen[0] == metrics[: len(seen[0])] and seen[1] == rollouts[: len(seen[1])], told
            assert len(seen[0]) >= status["lines"] and len(seen[1]) >= status["rows"], told
        readings = outcome(lambda path=path: [repr(row) for row in open_run(path).metrics()])
        fitted = outcome(lambda path=path: law_of(open_run(path)))
        assert (
            isinstance(fitted, Exception) if isinstance(readings, Exception) else readings != metrics or fitted == law
        )
        if number % 6 == 0:
            outcome(lambda path=path: page_of(open_run(path)))
        problems = check(path)
        assert problems or not isinstance(seen, RecordError), told
        mended = outcome(lambda path=path: repair(path))
        again = outcome(lambda path=path: repair(path))
        assert isinstance(mended, Exception) or again == [], told
        after = outcome(lambda path=path: rows_of(open_run(path)))
        if not isinstance(after, Exception):
            assert is_part_of(after[0], metrics) and is_part_of(after[1], rollouts), told
        assert isinstance(seen, Exception) or not isinstance(after, Exception), f"the repair broke it: {told}"
        shutil.rmtree(path)


def is_part_of(some: list[str], all_of_them: list[str]) -> bool:
    """Whether ``some`` are among them, in their order."""
    rest = iter(all_of_them)
    return all(row in rest for row in some)


def test_the_law_can_be_broken(sound):
    """A negative control: a number that changed in a way no checksum covers is what the law looks for."""
    metrics, _ = rows_of(open_run(sound))
    path = sound / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    record = unseal(lines[3].rstrip(b"\n"), key(sound))
    lines[3] = seal(record | {"reward": 99.0}, key=key(sound))
    path.write_bytes(b"".join(lines))
    changed, _ = rows_of(open_run(sound))
    assert changed != metrics and not is_part_of(changed, metrics)
