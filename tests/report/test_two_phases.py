"""Change points on curves whose break is known, and the section's sentence on runs made of them."""

import math
import re

import numpy as np
import pytest

from forkpoint.record.read import open_run
from forkpoint.record.write import RunWriter
from forkpoint.report._change_point import change_point
from forkpoint.report._rise import rise
from forkpoint.report._series import Series
from forkpoint.report.page import page
from forkpoint.report.two_phases import ENTROPY, PLANNING, SAMPLED, rise_since, settled_at, two_phases
from tests.report.test_browser import browser as browser
from tests.report.test_browser import load as load
from tests.report.two_runs import DEFINITION, DEFINITIONS

STEPS = list(range(1, 121))
AFTER_STEP_40 = np.maximum(0, np.array(STEPS) - 40)


def noise(seed, rho=0.0, num=120):
    rng, found = np.random.default_rng(seed), [0.0]
    for fresh in rng.normal(0, math.sqrt(1 - rho**2), num):
        found.append(rho * found[-1] + fresh)
    return np.array(found[1:])


def bent(size, seed, rho):
    """Falls by .01 a step until 40, by a twentieth of that afterwards."""
    return 0.8 - 0.01 * np.array(STEPS) + 0.0095 * AFTER_STEP_40 + size * noise(seed, rho)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_planted_break_is_found_and_its_interval_holds_it(rho):
    found = [change_point(STEPS, bent(0.03, seed, rho).tolist()) for seed in range(30)]
    assert all(found), "a bend of twelve noises was missed"
    inside = sum(one.low <= 40 <= one.high for one in found)
    assert inside >= 25, f"{inside} of 30 intervals of 95 % hold the break"
    assert np.median([one.step for one in found]) == pytest.approx(40, abs=2)
    assert all(one.before == pytest.approx(-0.01, abs=0.004) and abs(one.after) < 0.003 for one in found)
    for slope, ends in ((-0.01, [one.before_ends for one in found]), (-0.0005, [one.after_ends for one in found])):
        inside = sum(low <= slope <= high for low, high in ends)
        assert inside >= 25, f"{inside} of 30 intervals of 95 % hold the slope {slope}"


@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("slope", [0.0, -0.01])
def test_a_straight_line_has_no_change_point(slope, rho):
    lines = [slope * np.array(STEPS) + 0.03 * noise(seed, rho) for seed in range(60)]
    false = sum(change_point(STEPS, line.tolist()) is not None for line in lines)
    assert false <= 8, f"{false} breaks in 60 straight lines, at a level of 5 %"


def test_an_exact_line_a_constant_and_too_few_points_have_none():
    assert change_point(STEPS, [1e6 - 0.3 * step for step in STEPS]) is None
    assert change_point(STEPS, [0.1] * 120) is None
    assert change_point(range(19), [float(abs(t - 9)) for t in range(19)]) is None
    assert change_point([], []) is None


def test_gaps_are_left_out_and_long_curves_are_pooled():
    values = bent(0.01, 0, 0.0)
    values[10:15] = np.nan
    assert change_point(STEPS, values.tolist()).step == pytest.approx(40, abs=4)
    steps = list(range(3000))
    found = change_point(steps, [float(v) for v in np.maximum(0, np.array(steps) - 900) + 20 * noise(1, num=3000)])
    assert found.low <= 900 <= found.high and found.step == pytest.approx(900, abs=40)


def test_the_same_curve_has_the_same_change_point():
    values = bent(0.03, 3, 0.3).tolist()
    assert change_point(STEPS, values) == change_point(STEPS, values)


def a_run(folder, name, execution, planning):
    method = {"name": "grpo", "settings": {}, "intervenes": False}
    definitions = DEFINITIONS | {"entropy/sampled": DEFINITION, "diversity/strategies_miller_madow": DEFINITION}
    about = dict(name=name, config={}, method=method, task="t", seed=0, definitions=definitions)
    with RunWriter.create(folder, **about) as writer:
        for step, entropy, diversity in zip(STEPS, execution, planning, strict=True):
            values = {ENTROPY: entropy, SAMPLED: entropy, PLANNING: diversity, "entropy/full": entropy}
            writer.metrics("train", step, {key: float(value) for key, value in values.items() if value is not None})
        writer.close("done")
    return open_run(folder)


@pytest.fixture
def phases(tmp_path):
    """Execution settles at 40 and planning rises from there; beside a run where both fall along a line."""
    rising = 1.5 + 0.01 * AFTER_STEP_40 + 0.02 * noise(7)
    falling = 0.8 - 0.004 * np.array(STEPS) + 0.01 * noise(8), 1.5 - 0.005 * np.array(STEPS) + 0.02 * noise(9)
    two = a_run(tmp_path / "two", "two phases", bent(0.01, 6, 0.0), rising)
    return [two, a_run(tmp_path / "one", "one line", *falling)]


def test_the_finding_says_where_and_for_which_run(phases):
    finding = two_phases(phases).finding
    assert finding.startswith("Execution entropy fell from ")
    assert "it flattens at step " in finding and "has no change point with one line" in finding
    assert "planning entropy went from 1." in finding
    risen = re.search(
        r"settled at step (\d+), planning entropy rose by ([\d.]+) \[([\d.]+), ([\d.]+)\] nats with", finding
    )
    step, by, low, high = map(float, risen.groups())
    # along a line to step 120 the means of the outer thirds are two thirds of its rise apart
    assert low < 0.01 * (120 - step) * 2 / 3 < high and low < by < high < low + 0.06
    assert finding.endswith("with two phases; that is the order of two phases with two phases.")
    assert finding.count("settled at step") == 1, "said of the run whose execution settles, and of no other"
    assert two_phases(phases[1:]).finding.endswith("no run shows two phases in that order.")


def test_planning_that_falls_is_no_second_phase(tmp_path):
    run = a_run(tmp_path / "run", "spent", bent(0.01, 6, 0.0), 1.5 - 0.005 * np.array(STEPS) + 0.02 * noise(9))
    finding = two_phases([run]).finding
    assert "flattens at step" in finding and "planning entropy did not rise measurably (by −0." in finding
    assert finding.endswith("no run shows two phases in that order.")


FLATTENS_AT_80 = np.minimum(np.arange(200), 80)
RISES_FROM_80 = np.maximum(0, np.arange(200) - 80)


def claims(direction, rho, slope=0.0, seeds=40):
    """Of runs whose execution entropy goes by .002 a step until 80 and whose planning goes by ``slope`` from there."""
    claimed = 0
    for seed in range(seeds):
        execution = 0.3 + direction * 0.002 * FLATTENS_AT_80 + 0.01 * noise(2 * seed, rho, 200)
        planning = 1 + slope * RISES_FROM_80 + 0.05 * noise(2 * seed + 1, rho, 200)
        settled = settled_at(change_point(range(200), execution.tolist()))
        after = (
            None if settled is None else rise_since(settled, Series(0, "run", PLANNING, range(200), planning.tolist()))
        )
        claimed += after is not None and after.rose
    return claimed


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_flat_planning_is_no_second_phase(rho):
    claimed = claims(-1, rho)
    assert claimed <= 4, f"{claimed} of 40 series of noise are called two phases"


@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("slope", [0.0, 0.00167])
def test_execution_that_rises_before_it_flattens_is_no_first_phase(rho, slope):
    assert claims(1, rho, slope) == 0


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_a_rise_of_four_noises_is_claimed(rho):
    claimed = claims(-1, rho, slope=0.2 / 120)
    assert claimed >= 36, f"{claimed} of 40 rises were seen"


def test_a_rise_has_an_interval_that_holds_it():
    """Of a line the outer thirds' means are two thirds of its rise apart."""
    curves = [0.002 * np.array(STEPS) + 0.05 * noise(seed, 0.6) for seed in range(40)]
    found = [rise(STEPS, curve.tolist()) for curve in curves]
    inside = sum(one.low <= 0.002 * 80 <= one.high for one in found)
    assert inside >= 34, f"{inside} of 40 intervals of 95 % hold the rise"
    assert rise(STEPS, curves[0].tolist()) == found[0], "the same curve has the same interval"


def test_neighbors_that_move_together_widen_the_interval_of_a_rise():
    white, red = ([rise(STEPS, noise(seed, rho).tolist()) for seed in range(20)] for rho in (0.0, 0.8))
    widths = [np.median([one.high - one.low for one in found]) for found in (white, red)]
    # thirds of 40 steps: sqrt((1 + rho) / (1 - rho)) = 3, less at the edges
    assert 2 <= widths[1] / widths[0] <= 4


def test_a_constant_and_too_few_points_have_no_rise():
    assert not rise(STEPS, [0.1] * 120).rose
    assert rise(range(19), [float(t) for t in range(19)]) is None
    assert rise([], []) is None
    gaps = [math.nan if t % 3 == 0 else 0.5 * t for t in range(90)]
    assert rise(range(90), gaps).by == pytest.approx(30), "between the means of steps 15 and 75"


def test_a_rise_of_a_long_curve_is_that_of_its_neighbors_averaged():
    planted = 0.001 * np.arange(3000)
    found = rise(range(3000), (planted + noise(3, num=3000)).tolist())
    assert found.low < 2 < found.high < found.low + 0.3


def test_too_few_steps_after_the_settling_claim_no_rise(tmp_path):
    planning = [*np.full(50, 1.5), *np.linspace(1.5, 3, 70)]
    known = [value if step < 50 else None for step, value in enumerate(planning)]
    finding = two_phases([a_run(tmp_path / "run", "short", bent(0.01, 6, 0.0), known)]).finding
    assert "planning has fewer than 20 steps, too few to tell a rise from noise, with short" in finding
    assert finding.endswith("no run shows two phases in that order.")


def test_a_level_after_a_fall_is_said_to_flatten_though_its_slope_is_above_0_by_chance(tmp_path):
    found = []
    for seed in range(6):
        execution = 0.8 - 0.01 * np.minimum(STEPS, 40) + 0.01 * noise(seed)
        after = change_point(STEPS, execution.tolist()).after
        found.append((after > 0, two_phases([a_run(tmp_path / str(seed), "a", execution, [1.0] * 120)]).finding))
    assert any(above for above, _ in found) and all("it flattens at step" in finding for _, finding in found)


def test_figures_hold_the_numbers_and_mark_only_what_bends(phases):
    entropy, perplexity, planning = two_phases(phases).figures
    assert [len(figure.traces) for figure in (entropy, planning)] == [3, 3]
    assert perplexity.traces[0]["y"][:3] == pytest.approx([math.exp(v) for v in entropy.traces[0]["y"][:3]])
    mark = entropy.traces[2]
    assert mark["x"][0] == pytest.approx(40, abs=3) and mark["error_x"]["color"] == "--arm-0"
    assert mark["error_x"]["array"][0] >= 0 <= mark["error_x"]["arrayminus"][0]


def test_without_planning_there_is_no_section(tmp_path, two_runs):
    assert two_phases(two_runs) is None
    assert two_phases([a_run(tmp_path / "run", "plain", bent(0.01, 1, 0.0), [None] * 120)]) is None


@pytest.mark.browser
def test_the_marks_are_drawn_in_the_run_s_color(load, phases):
    tab = load(page(phases), color_scheme="light")
    drawn = "all => all.map(bar => getComputedStyle(bar).stroke)"
    marks = [trace for figure in two_phases(phases).figures for trace in figure.traces if "error_x" in trace]
    found = tab.eval_on_selector_all(".plot .xerror", drawn)
    assert len(found) == len(marks) >= 3 and "rgb(194, 80, 27)" in found


def test_a_few_steps_tell_no_phase(tmp_path):
    """Two batches differ by chance; a sentence of what rose and fell would say that they do not."""
    short = a_run(tmp_path / "short", "short", *([*noise(seed)[:19], *[None] * 101] for seed in (1, 2)))
    assert two_phases([short]).finding == "Fewer than 20 training steps do not tell a phase from noise."


def test_the_ends_of_the_sentence_are_means_of_a_tenth(tmp_path):
    execution = np.r_[5.0, np.full(58, 0.5), np.full(61, 0.25)]
    finding = two_phases([a_run(tmp_path / "one", "one", execution, np.full(120, 1.0))]).finding
    assert finding.startswith("Execution entropy fell from 0.875 to 0.250 nats"), "(5 + 11 * 0.5) / 12"
