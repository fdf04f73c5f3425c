"""Damage is named by file and never becomes a wrong number."""

import json
import os
from pathlib import Path

import pytest
from small_run import everything, write_steps

from forkpoint.record import RecordError, open_run
from forkpoint.record._header import key_in
from forkpoint.record._seal import seal
from forkpoint.record.check import check

FILES = [
    "run.json",
    "status.json",
    "manifest.json",
    "metrics.jsonl",
    "rollouts/tail.jsonl",
    "rollouts/part-000000.parquet",
    "rollouts/part-000001.parquet",
]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_found_and_its_file_named(run, file, bit):
    path, sound = run / file, everything(run)
    data = path.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        with pytest.raises(RecordError) as caught:
            everything(run)
        assert caught.value.file == str(path) and "\n" not in str(caught.value)
        assert any(problem.file == str(path) for problem in check(run))
    path.write_bytes(data)
    assert everything(run) == sound and check(run) == []


@pytest.mark.parametrize("file", FILES)
def test_a_cut_file_is_found_unless_only_its_last_line_is_torn(run, file):
    path = run / file
    data = path.read_bytes()
    for length in [0, 1, len(data) // 2 + 1, len(data) - 2]:
        path.write_bytes(data[:length])
        lines = file.endswith(".jsonl")
        assert check(run) or (lines and length == 0), "an empty log is a log before its first line"
        if not lines:
            with pytest.raises(RecordError, match=path.name):
                everything(run)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(run, file):
    (run / file).unlink()
    with pytest.raises(RecordError, match=Path(file).name):
        everything(run)
    assert check(run)


def test_a_torn_last_line_is_dropped_and_counted(run):
    for file in ("metrics.jsonl", "rollouts/tail.jsonl"):
        path = run / file
        path.write_bytes(path.read_bytes()[:-9])
    found = open_run(run)
    assert found.torn_lines == 2 and found.steps == 4 and len(found.rollouts()) == 9
    assert [problem.what for problem in check(run)] == ["is half written"] * 2


def test_a_damaged_line_is_named_by_number_and_check_finds_them_all(run):
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"0.6", b"0.7") + lines[2] + b"{}\n" + lines[4])
    with pytest.raises(
        RecordError, match=r"metrics\.jsonl: line 2: checksum does not match, .*; restore .* doctor RUN --repair"
    ):
        open_run(run).metrics()
    assert [problem.field for problem in check(run)] == ["line 2", "line 4"]


def test_swapped_parts_are_found(run):
    one, two = (run / f"rollouts/part-00000{i}.parquet" for i in range(2))
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_bytes)
    two.write_bytes(one_bytes)
    with pytest.raises(RecordError, match=r"part-000000\.parquet"):
        open_run(run).rollouts()
    assert len(check(run)) == 2, "check goes on after the first"


def test_rows_missing_from_the_tail_are_found(run):
    path = run / "rollouts/tail.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(RecordError, match=r"has row 7 where row 6 of the run comes next"):
        open_run(run).rollouts()


def test_a_manifest_cannot_lead_outside_the_run(run):
    path = run / "manifest.json"
    record = json.loads(path.read_bytes())
    record.pop("crc")
    record["parts"][0]["file"] = "../../secret.parquet"
    path.write_bytes(seal(record, key=key_in(open_run(run).header), indent=1))
    with pytest.raises(RecordError, match=r"parts\[0\]: is not a part's entry"):
        open_run(run).rollouts()


def test_a_part_that_the_manifest_does_not_name_is_no_data(run):
    (run / "rollouts/part-000007.parquet").write_bytes(b"PAR1")
    assert len(open_run(run).rollouts()) == 10
    assert [problem.what for problem in check(run)] == ["is not in manifest.json"]


def test_a_newer_schema_is_refused_with_the_remedy(run):
    path = run / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"schema": 2', b'"schema": 3'))
    with pytest.raises(RecordError, match=r"run\.json: schema: is 3, and this version reads up to 2; upgrade"):
        open_run(run)


def test_a_folder_without_a_run_is_told_apart(tmp_path):
    with pytest.raises(RecordError, match="nowhere: is missing; give the folder of a run"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(RecordError, match=r"has no run\.json"):
        open_run(tmp_path)
    assert [problem.what for problem in check(tmp_path)] == ["has no run.json"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "is not JSON"),
        (b"[1]", "holds list"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"schema": 1}', "has no checksum"),
        (b'{"name": "other tool"}', "schema: is not a number"),
    ],
)
def test_a_header_that_is_not_ours_is_one_clear_line(run, text, what):
    (run / "run.json").write_bytes(text)
    with pytest.raises(RecordError, match=what) as caught:
        open_run(run)
    assert "\n" not in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("field", ["name", "method", "environment", "seed"])
def test_a_header_without_a_field_names_it(run, field):
    record = json.loads((run / "run.json").read_bytes())
    del record["crc"], record[field]
    (run / "run.json").write_bytes(seal(record, indent=1))
    with pytest.raises(RecordError, match=rf"run\.json: {field}: is not"):
        open_run(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_in_place_of_a_file_does_not_block(run):
    (run / "metrics.jsonl").unlink()
    os.mkfifo(run / "metrics.jsonl")
    with pytest.raises(RecordError, match="is not a regular file"):
        open_run(run).metrics()


def test_a_sealed_line_of_the_wrong_shape_is_damage(create):
    writer = create()
    write_steps(writer, range(1, 2))
    with (writer.path / "metrics.jsonl").open("ab") as file:
        file.write(seal({"n": 1, "kind": "train", "step": 2, "loss": "much"}, key=key_in(open_run(writer.path).header)))
    with pytest.raises(RecordError, match=r"line 2: loss is not a number"):
        open_run(writer.path).metrics()
