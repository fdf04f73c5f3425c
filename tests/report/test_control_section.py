"""The page's section of feedback: knobs, readings and what they were held to, against numbers worked out by hand."""

import pytest

from forkpoint.record.read import open_run
from forkpoint.record.write import RunWriter
from forkpoint.report.control import control
from forkpoint.report.page import page

HELD = {
    "control/marked_share": [0.1, 0.1, 0.1],
    "control/tilt": [0.0, 0.5, 0.25],
    "control/target/entropy/full": [0.4, 0.4, 0.4],
    "entropy/full": [0.2, 0.3, 0.35],
}
BANDED = {
    "control/sign": [0.0, -1.0],
    "control/lower/entropy/full": [0.4, 0.4],
    "control/upper/entropy/full": [0.6, 0.6],
}


@pytest.fixture
def recorded(tmp_path):
    def write(name, columns):
        about = {"config": {}, "method": {"name": name, "settings": {}, "intervenes": True}, "task": "", "seed": 0}
        meaning = {key: {"estimator": f"what {key} is", "unit": "nats"} for key in ("entropy/full", "control/target")}
        with RunWriter.create(tmp_path / name, name=name, definitions=meaning, **about) as writer:
            for index in range(len(next(iter(columns.values())))):
                writer.metrics("train", index + 1, {key: values[index] for key, values in columns.items()})
        return open_run(tmp_path / name)

    return write


def test_a_run_without_controllers_has_no_such_section(two_runs, recorded):
    assert control(two_runs) is None
    assert control([recorded("plain", {"control/marked_share": [0.1], "entropy/full": [0.3]})]) is None


def test_knob_reading_and_set_point_are_drawn_as_recorded(recorded):
    section = control([recorded("mine", HELD)])
    assert section.finding == "The reading entropy/full ended 0.050 from its set-point of 0.400 with mine."
    knob, reading = section.figures
    assert (knob.title, list(knob.traces[0]["y"])) == ("Knob tilt", [0.0, 0.5, 0.25])
    assert [list(trace["y"]) for trace in reading.traces] == [[0.2, 0.3, 0.35], [0.4, 0.4, 0.4]]
    assert reading.traces[1]["name"] == "set-point, mine"
    assert section.table.head == ["step", "tilt, mine", "entropy/full, mine"]
    told = dict(section.definitions)
    assert "what control/target is" in told["control/target/entropy/full"]


def test_a_band_is_told_as_a_band(recorded):
    inside, outside = (
        recorded(name, BANDED | {"entropy/full": [0.5, last]}) for name, last in (("a", 0.55), ("b", 0.3))
    )
    found = control([inside, outside]).finding
    told = [f"the reading entropy/full ended {how} with" for how in ("inside its band", "0.100 outside its band")]
    assert found.lower() == f"{told[0]} a and {told[1]} b."


def test_knobs_without_readings_are_told_by_where_they_ended(recorded):
    assert control([recorded("mine", {"control/coef": [0.0, 0.25]})]).finding == "Knob coef ended at 0.250 with mine."


def test_the_page_holds_the_section(recorded):
    assert 'id="control"' in page([recorded("mine", HELD)])
