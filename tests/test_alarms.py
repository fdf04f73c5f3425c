"""When an alarm is raised, when it is not, and that a resume forgets nothing."""

import json
import math
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpoint import alarms, gates, progress
from forkpoint.alarms import CONDITIONS, Watch, meaning, raised, recorded
from forkpoint.cli import main
from forkpoint.config import RunConfig
from forkpoint.record import RunWriter, open_run

every_condition = pytest.mark.parametrize("name", CONDITIONS)
PLAIN = [name for name, condition in CONDITIONS.items() if not condition.of_first]
TRAPS = st.sampled_from([math.nan, math.inf, -math.inf])
VALUES = st.floats(-1, 3, width=16) | TRAPS


def edge(name: str) -> tuple[float, float]:
    """(a value at which the condition holds, one at which it just does not), for a first mean of 1."""
    condition = CONDITIONS[name]
    if condition.relation == alarms.NOT_FINITE:
        return math.nan, 1e30
    below, above = condition.limit - 1e-6, condition.limit + 1e-6
    return {
        "<": (below, condition.limit),
        "<=": (condition.limit, above),
        ">": (above, condition.limit),
        ">=": (condition.limit, below),
    }[condition.relation]


TAUGHT = {"advantage/abs": 0.5}


def rows_of(name: str, values: list[float]) -> list[dict[str, Any]]:
    """Rows that hold the condition's column; a warm-up with mean 1 goes before, and what it asks for beside."""
    condition, (beside, least) = CONDITIONS[name], CONDITIONS[name].while_above
    around = {beside: least} if beside else {}
    values = [1.0] * condition.of_first + values
    return [{"step": step, condition.key: value, **around} for step, value in enumerate(values, start=1)]


def by_name(name: str, rows: list[dict[str, Any]]) -> list[alarms.Alarm]:
    return [alarm for alarm in raised(rows, acts=True, kind=CONDITIONS[name].kind) if alarm.name == name]


@every_condition
def test_it_is_raised_at_the_reading_that_completes_its_patience_and_not_before(name: str):
    holds, _ = edge(name)
    patience, late = CONDITIONS[name].patience, CONDITIONS[name].of_first
    assert by_name(name, rows_of(name, [holds] * (patience - 1))) == []
    (alarm,) = by_name(name, rows_of(name, [holds] * (patience + 30)))
    assert (alarm.first, alarm.step) == (late + 1, late + patience)
    assert alarm.sentence == CONDITIONS[name].sentence and alarm.severity == CONDITIONS[name].severity


@every_condition
def test_just_beyond_its_limit_it_never_is(name: str):
    _, clear = edge(name)
    assert by_name(name, rows_of(name, [clear] * 50)) == []


@every_condition
def test_it_is_raised_again_only_after_it_cleared(name: str):
    holds, clear = edge(name)
    once = [holds] * (CONDITIONS[name].patience + 3)
    assert len(by_name(name, rows_of(name, [*once, *once]))) == 1
    assert len(by_name(name, rows_of(name, [*once, clear, *once]))) == 2


@pytest.mark.parametrize("name", PLAIN)
@given(values=st.lists(VALUES | st.none(), max_size=60), share=st.floats(0, 1))
def test_it_is_raised_exactly_once_per_long_enough_stretch(name: str, values: list[float | None], share: float):
    """Against a second way to count: stretches of readings that hold; a row without the column is no reading."""
    condition = CONDITIONS[name]
    holds, _ = edge(name)
    drawn = [
        holds if value is not None and index < share * len(values) else value for index, value in enumerate(values)
    ]
    beside, least = condition.while_above
    around = {beside: least} if beside else {}
    rows = [{"step": i, **around, **({} if v is None else {condition.key: v})} for i, v in enumerate(drawn)]
    readings = [(row["step"], row[condition.key]) for row in rows if condition.key in row]
    stretches = [list(part) for held, part in groupby(readings, lambda r: condition.holds(r[1])) if held]
    expected = [(s[0][0], s[condition.patience - 1][0]) for s in stretches if len(s) >= condition.patience]
    assert [(alarm.first, alarm.step) for alarm in by_name(name, rows)] == expected


@given(
    data=st.lists(st.dictionaries(st.sampled_from([c.key for c in CONDITIONS.values()]), VALUES), max_size=40),
    cut=st.integers(0, 40),
)
def test_a_resume_forgets_nothing(data: list[dict[str, float]], cut: int):
    rows = [{"step": step, **row} for step, row in enumerate(data)]
    first, second = Watch(acts=True), Watch(acts=True)
    found = [alarm for row in rows[:cut] for alarm in first.take(row["step"], row)]
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    found += [alarm for row in rows[cut:] for alarm in second.take(row["step"], row)]
    assert found == raised(rows, acts=True)


def test_without_its_state_a_resume_would_start_to_count_anew():
    """The negative control of the test above."""
    rows = rows_of("dead_groups", [1.0] * 10)
    fresh = Watch(acts=True)
    assert raised(rows, acts=True) and not [a for row in rows[5:] for a in fresh.take(row["step"], row)]


def test_state_of_an_alarm_that_another_version_had_is_left_out():
    watch = Watch(acts=False)
    watch.restore({"gone": {"held": 3, "since": 1, "seen": 0, "total": 0.0}})
    assert "gone" not in watch.state()


@given(rows=st.lists(st.fixed_dictionaries({"loss": VALUES, "grad_norm": VALUES}), max_size=20))
def test_a_row_may_come_in_parts(rows: list[dict[str, float]]):
    watch = Watch(acts=False)
    found = []
    for step, row in enumerate(rows):
        found += watch.take(step, {"loss": row["loss"]}) + watch.take(step, {"grad_norm": row["grad_norm"]})
    whole = raised([{"step": step, **row} for step, row in enumerate(rows)], acts=False)
    assert sorted(found) == sorted(whole)


# ---- entropy has two edges


def entropies(*values: float) -> list[tuple[str, int]]:
    rows = [{"step": step, "entropy/full": value} for step, value in enumerate(values, start=1)]
    return [(alarm.name, alarm.step) for alarm in raised(rows, acts=False)]


def test_entropy_that_collapses_is_one_alarm_and_entropy_that_explodes_another():
    assert entropies(*[0.3] * 5, *[0.01] * 20) == [("entropy_low", 15)]
    assert entropies(*[0.3] * 5, *[0.61] * 20) == [("entropy_high", 15)]
    assert entropies(*[0.3] * 5, *[0.6] * 20) == []
    assert entropies(*[0.3] * 5, *[0.02] * 20) == []


def test_entropy_that_swings_over_both_edges_raises_neither():
    assert entropies(*[0.3] * 5, *[0.01, 2.0] * 20) == []


def test_the_first_mean_waits_for_finite_readings():
    assert entropies(math.nan, *[0.3] * 5, *[0.61] * 10) == [("entropy_high", 16)]
    assert entropies(*[math.nan] * 50) == [], "the guard of non-finite entropies says it, with a column of its own"


# ---- completions that stop depending on the prompt, at the evaluations


def collapses(*readings: tuple[float, float]) -> list[tuple[str, int]]:
    rows = [{"step": i, "diversity/mutual_information": mi, "entropy/full": h} for i, (mi, h) in enumerate(readings)]
    return [(alarm.name, alarm.step) for alarm in raised(rows, acts=False, kind="eval")]


def test_completions_that_no_longer_tell_their_prompts_are_an_alarm_while_entropy_looks_healthy():
    assert collapses((0.8, 0.5), (0.4, 0.5), (0.07, 0.5), (0.05, 0.5)) == [("template_collapse", 3)]
    assert collapses((0.8, 0.5), (0.4, 0.5), (0.09, 0.5), (0.2, 0.5), (0.09, 0.5)) == []
    assert collapses((0.8, 0.5), (0.7, 0.01), (0.05, 0.01), (0.05, 0.01)) == [], "then entropy_low says it"


def test_a_policy_that_never_told_its_prompts_apart_has_nothing_to_lose():
    assert collapses((0.0, 0.5), *[(-0.1, 0.5)] * 5) == collapses((-0.2, 0.5), *[(-0.1, 0.5)] * 5) == []


def test_an_evaluation_is_no_training_step():
    rows = [{"step": step, "entropy/full": 0.001} for step in range(30)]
    assert raised(rows, acts=True, kind="eval") == [] and raised(rows, acts=True) != []


# ---- who is asked


def test_plain_grpo_may_change_nothing():
    rows = [{"step": s, "guard/changed_share": 0.0, "guard/empty_selection": 1.0, **TAUGHT} for s in range(20)]
    assert raised(rows, acts=False) == []
    assert [alarm.name for alarm in raised(rows, acts=True)] == ["inert", "empty_selection"]


def test_a_column_that_is_absent_is_not_zero():
    rows = [{"step": step, **TAUGHT, **({"guard/changed_share": 0.0} if step % 2 else {})} for step in range(19)]
    assert raised(rows, acts=True) == []
    rows += [{"step": 19, "guard/changed_share": 0.0, **TAUGHT}]
    assert [alarm.step for alarm in raised(rows, acts=True)] == [19]


def test_where_nothing_is_taught_no_method_is_blamed():
    """Dead groups alone: they neither count for an inert method nor clear what was counted before."""
    dead = [{"step": step, "guard/changed_share": 0.0, "advantage/abs": 0.0} for step in range(30)]
    assert raised(dead, acts=True) == []
    live = [row | TAUGHT for row in dead[:9]]
    assert raised([*live, *dead[9:]], acts=True) == []
    assert [alarm.step for alarm in raised([*live, *dead[9:29], dead[29] | TAUGHT], acts=True)] == [29]


# ---- words


@every_condition
def test_an_alarm_is_one_line_that_says_what_it_means_and_what_to_do(name: str):
    condition = CONDITIONS[name]
    assert condition.name == name and name.replace("_", "").isalpha()
    assert ";" in condition.sentence and "\n" not in condition.sentence and len(condition.sentence) < 160
    assert condition.key in str(condition)
    assert condition.relation in (*gates.OPERATORS, alarms.NOT_FINITE) and condition.patience >= 1
    assert meaning(name) == condition.sentence


def test_an_alarm_of_another_version_is_still_told():
    assert recorded([{"step": 3, "alarm/new": 1.0, "loss": 0.0}]) == [(3, "new")]
    assert "does not know" in meaning("new")


def test_an_alarm_says_since_when():
    (alarm,) = by_name("no_verdict", rows_of("no_verdict", [1.0] * 3))
    assert str(alarm).startswith("no_verdict at steps 1 to 3: a fifth of the completions")
    assert str(alarm._replace(first=3)).startswith("no_verdict at step 3: ")


def test_the_table_can_be_broken():
    """The negative control of the edges: a limit moved by a little is seen."""
    low = replace(CONDITIONS["entropy_low"], limit=0.01)
    assert CONDITIONS["entropy_low"].holds(0.015) and not low.holds(0.015)


# ---- gates: the same comparison, at the end of a run


@given(values=st.lists(VALUES, max_size=12), limit=st.floats(-1, 3, width=16), patience=st.integers(1, 6))
def test_a_gate_trips_exactly_when_each_of_its_last_values_fails(values: list[float], limit: float, patience: int):
    for relation, compare in gates.OPERATORS.items():
        gate = gates.Gate("key", relation, limit, patience)
        last = values[len(values) - patience :] if len(values) >= patience else []
        assert gate.trips(values) == (bool(last) and all(math.isnan(v) or compare(v, limit) for v in last))
        assert gates.parse(str(gate)).patience == patience


@pytest.mark.parametrize(
    "text", ["a<1 for", "a<1 for 0", "a<1 for -1", "a<1 for ten", "a<1 10", "a<1 for 1.5", "a<1for 2"]
)
def test_a_patience_has_one_form(text: str):
    with pytest.raises(ValueError, match="is not KEY<NUMBER"):
        gates.parse(text)


def test_a_gate_names_its_patience_only_where_it_has_one():
    assert str(gates.parse(" guard/changed_share <=0  for 10 ")) == "guard/changed_share<=0 for 10"
    assert str(gates.parse("a<1 for 1")) == "a<1"


class Recorded:
    """As much of a run as a gate looks at."""

    name = "a run"

    def __init__(self, defined: list[str]) -> None:
        self.header = {"definitions": dict.fromkeys(defined)}

    def columns(self, kind: str) -> list[str]:
        return []


def test_an_alarm_that_was_never_raised_passes_and_a_misspelt_one_does_not():
    gate = gates.parse("alarm/inert>0")
    assert gates.tripped(gate, Recorded(["alarm/inert"])) == ""
    with pytest.raises(ValueError, match="no column 'alarm/inert'"):
        gates.tripped(gate, Recorded([]))
    with pytest.raises(ValueError, match="no column 'guard/reward_outside'"):
        gates.tripped(gates.parse("guard/reward_outside>0"), Recorded(["guard/reward_outside"]))


# ---- where an alarm is told


@pytest.fixture
def run_with_alarms(tmp_path: Path) -> Path:
    method = {"name": "kl_cov", "settings": {}, "intervenes": True}
    defined = {"alarm/inert": {}, "alarm/nonfinite": {}}
    with RunWriter.create(
        tmp_path / "run", name="a run", config={}, method=method, task="", seed=0, definitions=defined
    ) as writer:
        writer.metrics("train", 1, {"entropy/full": 0.5})
        writer.metrics("train", 2, {"entropy/full": 0.4, "alarm/inert": 1.0})
    return tmp_path / "run"


def test_the_progress_line_ends_with_the_newest_alarm(run_with_alarms: Path):
    arm = RunConfig(out=str(run_with_alarms), name="mine", steps=9)
    assert progress.line(arm) == (
        f"mine  step 2 of 9  entropy 0.400  1 alarm, at step 2: {CONDITIONS['inert'].sentence}"
    )


def test_ls_counts_alarms(run_with_alarms: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["ls", str(run_with_alarms), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["alarms"] == 1
    assert main(["ls", str(run_with_alarms)]) == 0
    assert "alarms" in capsys.readouterr().out


def test_a_gate_on_alarms_fails_the_run_that_had_one(run_with_alarms: Path):
    run = open_run(run_with_alarms)
    assert gates.tripped(gates.parse("alarm/inert>0"), run) == "alarm/inert>0: alarm/inert is 1 at train step 2"
    assert gates.tripped(gates.parse("alarm/nonfinite>0"), run) == ""
    assert gates.tripped(gates.parse("entropy/full<0.6 for 2"), run).startswith("entropy/full<0.6 for 2: entropy/full")
    assert gates.tripped(gates.parse("entropy/full<0.5 for 2"), run) == ""
