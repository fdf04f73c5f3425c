"""The page's section of guards: last and worst values against numbers worked out by hand, alarms in words."""

import math

import pytest
from markupsafe import escape

from forkpoint.alarms import CONDITIONS
from forkpoint.record.read import open_run
from forkpoint.record.write import RunWriter
from forkpoint.report.guards import MOST_ALARMS, guards
from forkpoint.report.page import page

GUARDS = {
    "guard/changed_share": [0.2, 0.0, 0.1],
    "guard/dead_group_share": [0.5, 0.75, 0.25],
    "guard/reward_low": [0.0, -7.0, math.nan],
    "guard/nonfinite": [math.nan, math.nan, math.nan],
}


@pytest.fixture
def recorded(tmp_path):
    """``recorded("name", columns, alarms={step: name})`` -> a run with one row per value."""

    def write(name, columns, alarms=()):
        method = {"name": "kl_cov", "settings": {}, "intervenes": True}
        meaning = {key: {"estimator": f"what {key} is", "unit": "share"} for key in columns}
        with RunWriter.create(
            tmp_path / str(len(list(tmp_path.iterdir()))), name=name, config={}, method=method, task="", seed=0,
            definitions=meaning,
        ) as writer:  # fmt: skip
            for index in range(max(map(len, columns.values()))):
                row = {key: values[index] for key, values in columns.items() if index < len(values)}
                row |= {f"alarm/{alarm}": 1.0 for step, alarm in alarms if step == index + 1}
                writer.metrics("train", index + 1, row)
        return open_run(writer.path)

    return write


def test_a_run_without_guards_has_no_such_section(two_runs):
    assert guards(two_runs) is None


def test_last_and_worst_values_and_the_step_of_the_worst(recorded):
    section = guards([recorded("mine", GUARDS)])
    assert section.finding == "Nothing to report: no alarm was raised."
    assert section.content["table"].head == ["guard", "run", "last", "worst", "at step"]
    assert section.content["table"].rows == [
        ["changed_share", "mine", "0.1", "0", "2"],
        ["dead_group_share", "mine", "0.25", "0.75", "2"],
        ["nonfinite", "mine", "not finite", "not finite", "1"],
        ["reward_low", "mine", "not finite", "−7", "2"],
    ]
    assert ("guard/changed_share", "what guard/changed_share is; in share") in section.definitions


def test_of_equal_values_the_first_is_the_worst(recorded):
    section = guards([recorded("mine", {"guard/dead_group_share": [0.5, 1.0, 1.0]})])
    assert section.content["table"].rows[0][2:] == ["1", "1", "2"]


def test_alarms_are_told_in_words_and_counted_by_run(recorded):
    raised = recorded("mine", GUARDS, alarms=[(2, "inert"), (3, "reward_outside")])
    section = guards([raised, recorded("other", GUARDS)])
    assert section.finding == "2 alarms with mine, the first at step 2 (inert) and no alarm with other."
    assert section.content["alarms"] == [
        f"mine, step 2, inert: {CONDITIONS['inert'].sentence}.",
        f"mine, step 3, reward_outside: {CONDITIONS['reward_outside'].sentence}.",
    ]
    text = page([raised])
    assert 'id="guards"' in text and str(escape(CONDITIONS["inert"].sentence)) in text


def test_a_flood_of_alarms_is_cut_and_counted(recorded):
    steps = MOST_ALARMS + 7
    run = recorded("mine", {"guard/nonfinite": [1.0] * steps}, alarms=[(s + 1, "nonfinite") for s in range(steps)])
    told = guards([run]).content["alarms"]
    assert len(told) == MOST_ALARMS + 1 and told[-1] == "mine: 7 more alarms are not shown."


def test_a_hostile_alarm_and_column_come_out_inert(recorded):
    attack = "<script>window.canary=1</script>" + chr(0x202E)
    run = recorded(attack, {f"guard/{attack}": [0.5]}, alarms=[(1, attack)])
    text = page([run])
    body = text[: text.index("plotly.js v")]
    assert "<script>window" not in body and chr(0x202E) not in body
    assert "&lt;script&gt;window.canary=1&lt;/script&gt;⟨U+202E⟩" in body
