"""The page's section of effective ranks: measured and null lines as recorded, and a sentence worked out by hand."""

import math

import pytest

from forkpoint.metrics import definitions
from forkpoint.record.read import open_run
from forkpoint.record.write import RunWriter
from forkpoint.report.effective_rank import NULLS, effective_rank
from forkpoint.report.page import page

RANKS = {
    "rank/effective": [20.0, 24.0],
    "rank/velocity": [6.0, 7.5],
    "rank/acceleration": [2.0, 1.0],
    "rank/null": [30.0, 32.0],
    "rank/null_velocity": [9.0, 10.0],
    "rank/null_acceleration": [2.5, 2.5],
}
OLD = {key: RANKS[key] for key in RANKS if not key.startswith("rank/null_")}
"""as a run recorded them before there was a null of the motion"""


@pytest.fixture
def recorded(tmp_path):
    def write(name, columns):
        about = {"config": {}, "method": {"name": name, "settings": {}, "intervenes": True}, "task": "", "seed": 0}
        known = {key: vars(one) for key, one in definitions().items() if key in columns}
        with RunWriter.create(tmp_path / name, name=name, definitions=known, **about) as writer:
            for index in range(len(next(iter(columns.values())))):
                writer.metrics("train", index + 1, {key: values[index] for key, values in columns.items()})
        return open_run(tmp_path / name)

    return write


def test_a_run_without_ranks_has_no_such_section(two_runs):
    assert effective_rank(two_runs) is None


def test_each_quantity_is_drawn_beside_its_null(recorded):
    section = effective_rank([recorded("mine", RANKS)])
    assert section.title == "Effective rank" and len(section.figures) == 3
    for figure, (key, null) in zip(section.figures, NULLS.items(), strict=True):
        measured, beside = figure.traces
        assert (list(measured["y"]), list(beside["y"])) == (RANKS[key], RANKS[null])
        assert (beside["name"], beside["line"]["width"], beside["line"]["dash"]) == ("null, mine", 1, "dot")
        assert beside["line"]["color"] == measured["line"]["color"]
    assert section.finding == (
        "The effective rank ended at 24.00 (null 32.00) with mine; its velocity over prefixes ended at 7.50 "
        "(null 10.00) with mine; its acceleration over prefixes ended at 1.00 (null 2.50) with mine."
    )
    assert section.table.head[:3] == ["step", "effective, mine", "null, mine"]
    assert not section.notes
    (named,) = section.definitions
    assert set(named[0].split(", ")) == set(RANKS) and "independent Gaussian states" in named[1]


def test_the_end_is_the_mean_of_the_last_tenth(recorded):
    steps = [10.0] * 18 + [20.0, 30.0]
    section = effective_rank([recorded("mine", {"rank/effective": steps, "rank/null": [40.0] * 20})])
    assert section.finding == "The effective rank ended at 25.00 (null 40.00) with mine."


def test_a_record_without_a_null_of_the_motion_is_still_told(recorded, two_runs):
    section = effective_rank([recorded("old", OLD), two_runs[0]])
    assert [len(figure.traces) for figure in section.figures] == [2, 1, 1]
    assert "its velocity over prefixes ended at 7.50 (no null recorded) with old" in section.finding
    assert "No run recorded rank/null_velocity and rank/null_acceleration." in section.notes
    assert any(note.startswith("plain GRPO did not record rank/effective") for note in section.notes)
    both = effective_rank([recorded("older", OLD), recorded("new", RANKS)])
    assert "7.50 (no null recorded) with older and 7.50 (null 10.00) with new" in both.finding
    assert "older did not record rank/null_velocity and rank/null_acceleration." in both.notes


def test_answers_too_short_for_a_velocity_are_told(recorded):
    short = dict.fromkeys(("rank/velocity", "rank/acceleration", *list(NULLS.values())[1:]), [math.nan] * 2)
    section = effective_rank([recorded("mine", RANKS | short)])
    assert len(section.figures) == 1
    assert section.notes == [
        "No answer was long enough for rank/velocity and rank/acceleration: they take two and three prefixes."
    ]


def test_the_page_holds_the_section(recorded):
    assert 'id="effective_rank"' in page([recorded("mine", RANKS)])
