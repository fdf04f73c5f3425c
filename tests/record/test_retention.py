"""Keeping the newest completions, and one table of those there are."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import kill, rollout, write_steps

from forkpoint.record import ROLLOUT_SCHEMA, RecordError, RunWriter, open_run
from forkpoint.record._parts import Manifest, Part
from forkpoint.record.check import check


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("rollouts/part-*.parquet"))


def test_the_oldest_parts_are_dropped_and_no_reading(create):
    whole = create("whole", part_every=2)
    write_steps(whole, range(1, 12))
    whole.close()
    keep = size(whole.path) // 2
    writer = create(part_every=2, keep=keep)
    write_steps(writer, range(1, 12))
    writer.close()
    run = open_run(writer.path)
    assert 0 < size(writer.path) <= keep and run.steps == 11 and len(run.metrics()) == 11
    kept = [repr(row) for row in open_run(whole.path).rollouts()][run.retired_rows :]
    assert [repr(row) for row in run.rollouts()] == kept and len(kept) == 22 - run.retired_rows < 22
    assert check(writer.path) == []


def test_the_newest_part_stays_however_large(create):
    writer = create(part_every=2, keep=0)
    write_steps(writer, range(1, 8))
    writer.close()
    assert [row["step"] for row in open_run(writer.path).rollouts()] == [6, 6, 7, 7]
    with pytest.raises(ValueError, match="keep is -1; give a number of bytes"):
        create("other", keep=-1)


def test_a_reader_in_the_middle_is_told_that_the_part_was_retired(create):
    writer = create(part_every=2, keep=0)
    write_steps(writer, range(1, 4))
    reader = open_run(writer.path)
    assert reader.retired_rows == 0, "it has read the manifest"
    write_steps(writer, range(4, 8))
    with pytest.raises(RecordError, match=r"part-000000\.parquet: was retired while it was read; open the run again"):
        reader.rollouts()
    assert len(open_run(writer.path).rollouts()) == 8 and open_run(writer.path).retired_rows == 6


def test_a_part_that_is_missing_was_not_retired(create):
    writer = create(part_every=2)
    write_steps(writer, range(1, 5))
    (writer.path / "rollouts/part-000000.parquet").unlink()
    with pytest.raises(RecordError, match=r"part-000000\.parquet: is missing; restore it"):
        open_run(writer.path).rollouts()


def test_a_part_that_could_not_be_deleted_is_cleared_later(create, monkeypatch):
    writer = create(part_every=2, keep=0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError()))
        write_steps(writer, range(1, 8))
    kill(writer)
    assert [Path(problem.file).name for problem in check(writer.path)] == [f"part-00000{i}.parquet" for i in range(2)]
    RunWriter.resume(writer.path, 7, part_every=2, keep=0).close()
    assert check(writer.path) == [] and not (writer.path / "damaged").exists()


def test_a_resume_over_dropped_completions_compares_what_is_left(create):
    writer = create(part_every=2, keep=0)
    write_steps(writer, range(1, 8))
    kill(writer)
    resumed = RunWriter.resume(writer.path, 2, part_every=2, keep=0)
    write_steps(resumed, range(3, 10))
    resumed.close()
    whole = create("whole", part_every=2, keep=0)
    write_steps(whole, range(1, 10))
    whole.close()
    assert resumed.attempt == 0
    assert repr(open_run(writer.path).rollouts()) == repr(open_run(whole.path).rollouts())


def test_parts_are_kept_by_what_the_manifest_states():
    parts = tuple(Part(f"part-00000{i}.parquet", 10, "", 2, i, i) for i in range(4))
    for keep, left in ((100, 4), (40, 4), (39, 3), (10, 1), (0, 1), (None, 4)):
        kept = Manifest(parts).within(keep)
        assert kept.parts == parts[4 - left :] and kept.rows == 8 and kept.next_number == 4
        assert kept.retired_step == 3 - left


def test_a_table_holds_what_rollouts_do_and_parquet_takes_it_back(create, tmp_path):
    writer = create(part_every=2)
    write_steps(writer, range(1, 6))
    writer.rollouts([rollout(5, 0) | {"kind": "eval"}])
    run = open_run(writer.path)
    table = run.table()
    assert table.schema.equals(ROLLOUT_SCHEMA) and isinstance(table, pa.Table)
    assert repr(table.to_pylist()) == repr(run.rollouts())
    assert len(run.table("eval")) == 1 and len(run.table(steps=(2, 3))) == 4 and len(run.table(steps=(4, None))) == 5
    pq.write_table(table, tmp_path / "all.parquet")
    assert repr(pq.read_table(tmp_path / "all.parquet").to_pylist()) == repr(run.rollouts())
