"""A run that was killed goes on as if it had not been, and where it goes on differently the record says so."""

import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_run import kill, reading, rollout
from tests.conftest import counts

from forkpoint.record import RecordError, RunWriter, open_run
from forkpoint.record.check import check
from forkpoint.record.write import _step

LAST = 7


def life(writer: RunWriter, steps: range) -> None:
    """As a trainer calls: an evaluation at the start and every third step, completions before the step's reading."""
    for step in steps:
        if step == 0:
            evaluation(writer, 0)
            continue
        writer.rollouts([rollout(step, sample) for sample in range(2)])
        if step % 3 == 0:
            evaluation(writer, step)
        writer.metrics("train", step, reading(step) | {"step_time": float(id(writer))})


def evaluation(writer: RunWriter, step: int) -> None:
    writer.metrics("eval", step, {"accuracy": step / 7})
    writer.rollouts([rollout(step, 0) | {"kind": "eval"}])


def contents(path: Path) -> dict[str, bytes]:
    """Every file but the header, times replaced; the checksum over them goes too."""
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    del found["run.json"]
    timed = re.compile(rb'"(time|step_time|crc)": ?"?[0-9a-f.e+]+"?')
    return {name: data if name.endswith(".parquet") else timed.sub(rb"\1", data) for name, data in found.items()}


@pytest.fixture
def unbroken(create, one_identity) -> Path:
    writer = create("unbroken", part_every=2)
    life(writer, range(LAST + 1))
    writer.close()
    return writer.path


@pytest.fixture
def one_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs of a test have one id, so that their checksums compare."""
    monkeypatch.setattr("forkpoint.record._begin.uuid.uuid4", lambda: type("", (), {"hex": "0" * 32}))


@pytest.mark.parametrize(("checkpoint", "killed_at"), [*itertools.combinations_with_replacement(range(1, LAST + 1), 2)])
def test_a_resume_in_which_nothing_differs_leaves_the_files_of_an_unbroken_run(create, unbroken, killed_at, checkpoint):
    writer = create(part_every=2)
    life(writer, range(killed_at + 1))
    kill(writer)
    resumed = RunWriter.resume(writer.path, checkpoint, config={"steps": 6}, part_every=2)
    assert open_run(writer.path).status["state"] == "running"
    life(resumed, range(checkpoint + 1, LAST + 1))
    resumed.close()
    assert contents(writer.path) == contents(unbroken)
    evaluations = sum(step % 3 == 0 for step in range(checkpoint + 1, killed_at + 1))
    assert resumed.replayed == 3 * (killed_at - checkpoint) + 2 * evaluations and resumed.attempt == 0


def test_the_crashed_writer_may_have_died_at_any_byte_of_its_last_append(create, unbroken):
    writer = create("long", part_every=9)
    life(writer, range(4))
    kill(writer)
    for file in ("metrics.jsonl", "rollouts/tail.jsonl"):
        whole = (writer.path / file).read_bytes()
        for cut in range(0, 1 + len(whole.splitlines()[-1]), counts(67, 1)):
            path = shutil.copytree(writer.path, writer.path.parent / f"{Path(file).stem}-{cut}")
            (path / file).write_bytes(whole[: len(whole) - cut])
            resumed = RunWriter.resume(path, 2, part_every=2)
            life(resumed, range(3, LAST + 1))
            resumed.close()
            assert rows_of(path) == rows_of(unbroken) and check(path) == []


def test_a_writer_that_died_between_the_first_reading_and_its_completions_goes_on_from_the_start(create, unbroken):
    """At step 0 no checkpoint says that all of it was written."""
    writer = create(part_every=2)
    writer.metrics("eval", 0, {"accuracy": 0.0})
    kill(writer)
    with RunWriter.resume(writer.path, 0, part_every=2) as writer:
        life(writer, range(LAST + 1))
    assert (writer.attempt, writer.replayed) == (0, 1)
    assert contents(writer.path) == contents(unbroken)


def rows_of(path: Path) -> tuple[str, str]:
    run = open_run(path)
    return timeless(run.metrics()), repr([row | {"attempt": 0} for row in run.rollouts()])


def timeless(rows: list[dict[str, float]]) -> str:
    return repr([{key: value for key, value in row.items() if "time" not in key} for row in rows])


def test_where_it_goes_on_differently_a_new_attempt_supersedes_what_was_past_the_restart(create, unbroken):
    writer = create(part_every=2)
    life(writer, range(6))
    kill(writer)
    before = rows_of(writer.path)
    resumed = RunWriter.resume(writer.path, 2, part_every=2)
    life(resumed, range(3, 5))
    resumed.rollouts([rollout(5, sample) for sample in range(2)])
    resumed.metrics("train", 5, {"reward": -1.0})
    assert (resumed.attempt, resumed.replayed) == (1, 10)
    kill(resumed)
    run = open_run(writer.path)
    assert run.attempts == [4]
    assert [(row["step"], row["reward"]) for row in run.metrics("train")][3:] == [(4, 4 / 3), (5, -1.0)]
    assert [(row["step"], row["attempt"]) for row in run.rollouts(kind="train")][6:] == [(4, 0)] * 2 + [(5, 1)] * 2
    assert before == (
        repr([{k: v for k, v in r.items() if "time" not in k} for r in run.metrics(attempt=0)]),
        before[1],
    )
    assert [row["step"] for row in run.rollouts(attempt=0)] == [row["step"] for row in run.rollouts()]
    assert check(writer.path) == []


def test_a_completion_that_differs_opens_the_attempt_as_well(create):
    writer = create(part_every=2)
    life(writer, range(6))
    kill(writer)
    resumed = RunWriter.resume(writer.path, 1, part_every=2)
    life(resumed, range(2, 4))
    resumed.rollouts([rollout(4, 0), rollout(4, 1) | {"text": "another"}])
    assert resumed.attempt == 1
    life(resumed, range(5, 6))
    resumed.close()
    run = open_run(writer.path)
    assert run.attempts == [3] and [row["text"] for row in run.rollouts(step=4)][1] == "another"
    assert [row["attempt"] for row in run.rollouts()] == [0] * 8 + [1] * 4
    assert [row["step"] for row in run.metrics("train")] == [1, 2, 3, 5]
    assert len(run.rollouts(attempt=0)) == 12 and check(writer.path) == []


def test_recorded_completions_that_do_not_come_again_are_superseded(create):
    writer = create()
    life(writer, range(6))
    kill(writer)
    resumed = RunWriter.resume(writer.path, 2)
    for step in range(3, 7):
        if step % 3 == 0:
            resumed.metrics("eval", step, {"accuracy": step / 7})
        resumed.metrics("train", step, reading(step) | {"step_time": 1.0})
    resumed.close()
    run = open_run(writer.path)
    assert run.attempts == [2], "the readings came again, the completions did not"
    assert [row["step"] for row in run.metrics("train")] == [1, 2, 3, 4, 5, 6]
    assert max(row["step"] for row in run.rollouts()) == 2


def test_a_second_resume_goes_on_from_the_newest_attempt(create):
    writer = create(part_every=2)
    life(writer, range(6))
    kill(writer)
    for attempt, value in ((1, -1.0), (2, -2.0)):
        resumed = RunWriter.resume(writer.path, 3, part_every=2)
        for step in (4, 5):
            resumed.rollouts([rollout(step, sample) for sample in range(2)])
            resumed.metrics("train", step, {"reward": value})
        assert resumed.attempt == attempt
        kill(resumed)
    resumed = RunWriter.resume(writer.path, 3, part_every=2)
    resumed.rollouts([rollout(4, sample) for sample in range(2)])
    resumed.metrics("train", 4, {"reward": -2.0})
    assert (resumed.attempt, resumed.replayed) == (2, 3)
    run = open_run(writer.path)
    assert run.column("reward")[1].tolist()[3:] == [-2.0, -2.0]
    assert run.metrics("train", attempt=1)[3]["reward"] == -1.0 and run.attempts == [3, 3]
    with pytest.raises(ValueError, match=r"attempt 3; .* has attempts 0 to 2"):
        run.metrics(attempt=3)


def test_an_evaluation_repeated_at_the_checkpoint_is_settled(create):
    writer = create()
    life(writer, range(5))
    kill(writer)
    resumed = RunWriter.resume(writer.path, 3)
    evaluation(resumed, 3)
    assert (resumed.replayed, resumed.attempt) == (2, 0)
    life(resumed, range(4, 6))
    assert (resumed.replayed, resumed.attempt) == (5, 0)
    kill(resumed)
    other = RunWriter.resume(writer.path, 3)
    other.metrics("eval", 3, {"accuracy": 0.0})
    run = open_run(writer.path)
    assert run.attempts == [3] and [row["accuracy"] for row in run.metrics("eval")] == [0.0, 0.0]
    assert [row["step"] for row in run.metrics("train")] == [1, 2, 3]


def test_a_stopped_run_goes_on_too(create, unbroken):
    writer = create(part_every=2)
    life(writer, range(5))
    writer.close("stopped")
    resumed = RunWriter.resume(writer.path, 4, part_every=2)
    life(resumed, range(5, LAST + 1))
    resumed.close()
    assert rows_of(writer.path) == rows_of(unbroken)
    assert open_run(writer.path).status["state"] == "done"


def test_leftovers_of_the_dead_writer_are_cleared(create):
    writer = create(part_every=2)
    life(writer, range(6))
    kill(writer)
    stray = [
        ".manifest.json.0123abcd.tmp",
        "rollouts/part-000009.parquet",
        "rollouts/.part-000003.parquet.00000000.tmp",
    ]
    for name in (*stray, "notes.tmp", "rollouts/mine.parquet"):
        (writer.path / name).write_bytes(b"half")
    assert len(check(writer.path)) == 3
    kill(RunWriter.resume(writer.path, 5))
    assert not any((writer.path / name).exists() for name in stray)
    assert (writer.path / "notes.tmp").exists() and (writer.path / "rollouts/mine.parquet").exists()
    assert check(writer.path) == []


@pytest.fixture
def stopped(create) -> Path:
    writer = create(config={"steps": 6, "optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}})
    life(writer, range(4))
    writer.close("stopped")
    return writer.path


def untouched(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"steps": 7}, r"config\.steps: is 6, and the resumed run's is 7"),
        ({"optimizer": {"lr": 0.2, "betas": [0.9, 0.99]}}, r"config\.optimizer\.lr: is 0\.1, .* 0\.2"),
        ({"seed": None}, r"config\.seed: is absent, and the resumed run's is None"),
    ],
)
def test_another_config_is_refused_by_the_first_setting_that_differs(stopped, changed, told):
    config, before = {"steps": 6, "optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}} | changed, untouched(stopped)
    with pytest.raises(RecordError, match=told) as caught:
        RunWriter.resume(stopped, 2, config=config)
    assert "\n" not in str(caught.value) and untouched(stopped) == before
    RunWriter.resume(stopped, 2, config=config, ignore=("steps", "optimizer", "seed")).close()


def test_a_checkpoint_past_the_end_of_the_record_is_refused(stopped):
    before = untouched(stopped)
    with pytest.raises(RecordError, match=r"ends at step 3, before step 9 of the checkpoint; resume from a checkpoint"):
        RunWriter.resume(stopped, 9)
    assert untouched(stopped) == before


def test_a_damaged_run_is_refused_and_left_as_it_is(stopped):
    path = stopped / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b"accuracy", b"accurate"))
    before = untouched(stopped)
    with pytest.raises(RecordError, match=r"metrics\.jsonl: line 1: checksum does not match"):
        RunWriter.resume(stopped, 2)
    assert untouched(stopped) == before


def test_a_run_of_an_earlier_schema_is_read_but_not_resumed(tmp_path):
    path = shutil.copytree(Path(__file__).parent / "golden" / "schema-1", tmp_path / "old")
    with pytest.raises(RecordError, match=r"schema: is 1, which can be read but not resumed"):
        RunWriter.resume(path, 2)


def test_a_step_that_was_done_cannot_be_written_again(stopped):
    resumed = RunWriter.resume(stopped, 2)
    with pytest.raises(ValueError, match="train step 1 comes after step 2"):
        resumed.metrics("train", 1, {})


def test_the_comparison_would_notice_a_difference_in_any_value(create):
    """A negative control for the equal resumes above: one changed bit of one value opens an attempt."""
    for number, change in enumerate(({"reward": 3 / 3 + 1e-15}, {"loss": 0.0}, {"extra": 1.0})):
        writer = create(f"run-{number}")
        life(writer, range(4))
        kill(writer)
        resumed = RunWriter.resume(writer.path, 2)
        resumed.rollouts([rollout(3, sample) for sample in range(2)])
        evaluation(resumed, 3)
        resumed.metrics("train", 3, reading(3) | {"step_time": 0.5} | change)
        assert resumed.attempt == 1, change
        resumed.close()
        lines = [json.loads(line) for line in (writer.path / "metrics.jsonl").read_bytes().splitlines()]
        assert [line["n"] for line in lines] == list(range(len(lines)))


def test_what_came_again_before_the_difference_stays_in_view_with_it(create):
    """At the checkpoint's own step a new attempt hides all of that kind and step, also what was the same."""
    writer = create()
    life(writer, range(4))
    writer.metrics("eval", 3, {"other": 1.0})
    writer.rollouts([rollout(3, sample) | {"kind": "eval", "group": 1} for sample in range(3)])
    life(writer, range(4, 5))
    kill(writer)
    resumed = RunWriter.resume(writer.path, 3)
    evaluation(resumed, 3)
    resumed.rollouts([rollout(3, 0) | {"kind": "eval", "group": 1}, rollout(3, 1) | {"kind": "eval", "text": "new"}])
    resumed.metrics("eval", 3, {"other": 2.0})
    resumed.close()
    run = open_run(writer.path)
    first = [(row["group"], row["sample"]) for row in run.rollouts(3, "eval", attempt=0)]
    assert [(row["group"], row["sample"]) for row in run.rollouts(3, "eval")] == [
        *first[:-2],
        (rollout(3, 1)["group"], 1),
    ]
    assert [set(row) - {"kind", "step", "time"} for row in run.metrics("eval") if row["step"] == 3] == [
        {"accuracy"},
        {"other"},
    ]
    assert run.attempts == [3] and check(writer.path) == []


def test_the_same_completions_of_a_later_attempt_open_no_other_where_older_ones_were_dropped(create):
    writer = create(part_every=1, keep=40_000)
    life(writer, range(11))
    kill(writer)
    for last in (5, 7):
        resumed = RunWriter.resume(writer.path, 2, part_every=1, keep=40_000)
        for step in range(3, last + 1):
            resumed.rollouts([rollout(step, sample) | {"text": "another"} for sample in range(2)])
            resumed.metrics("train", step, {"reward": -1.0})
        kill(resumed)
        assert open_run(writer.path)._rollouts.manifest.retired_step >= 5, (
            "what is compared is older than what was dropped"
        )
        assert open_run(writer.path).attempts == [2]


@pytest.mark.parametrize("step", [-1, 2**31])
def test_a_step_that_is_no_count_is_refused_before_anything_changes(stopped, step):
    before = untouched(stopped)
    with pytest.raises(ValueError, match=r"resume from step .*: give the number of optimizer steps done"):
        RunWriter.resume(stopped, step)
    assert untouched(stopped) == before
    with RunWriter.resume(stopped, 3) as writer, pytest.raises(ValueError, match=r"train step .*: give the number of"):
        writer.metrics("train", step, {})
    assert check(stopped) == []
    for other in (1.5, "2", None):
        with pytest.raises(ValueError, match=r"step .*: give the number of"):
            _step(other, "train")


def test_a_step_of_numpy_is_a_step(create):
    writer = create(part_every=2)
    for step in np.arange(1, 6):
        writer.metrics("train", step, {"reward": np.float32(0.5)})
        writer.rollouts([{"kind": "train", "step": step, "reward_parts": {"format": np.float32(0.5)}}])
    writer.close()
    kill(RunWriter.resume(writer.path, np.int64(5)))
    run = open_run(writer.path)
    assert run.status["step"] == 5 and run.rollouts()[0]["reward_parts"] == '{"format": 0.5}' and check(run.path) == []
    with pytest.raises(ValueError, match="rollout row 0: traits cannot be JSON"):
        create("other").rollouts([{"kind": "train", "step": 1, "traits": {"tries": object()}}])
