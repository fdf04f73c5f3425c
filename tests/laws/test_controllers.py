"""What every controller promises, whoever adds one."""

import inspect
import json
import math
import subprocess
import sys
from importlib import import_module
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpoint import catalog
from forkpoint.controllers import Controller, Loop
from forkpoint.controllers.pi import pi

NAMES = catalog.names("controllers")
every_controller = pytest.mark.parametrize("name", NAMES)
READING = "entropy/full"
BEGIN = [0.5, 0.5]
"""readings that a controller may take its start from"""


def factory(name):
    return catalog.get("controllers", name)


def lively(name, **settings):
    """The controller with doses that thirty readings show; its file may say which."""
    doses = getattr(import_module(f"forkpoint.controllers.{name}"), "LIVELY", {}) | settings
    wires = ("coef", READING)[: len(positional(name))]
    return factory(name)(*wires, **doses)


def positional(name):
    return [p for p in inspect.signature(factory(name)).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]


def numbers(name):
    """Every setting that is a number, with the value that ``lively`` gives it."""
    doses = getattr(import_module(f"forkpoint.controllers.{name}"), "LIVELY", {})
    told = {p.name: p.default for p in inspect.signature(factory(name)).parameters.values() if p.kind is p.KEYWORD_ONLY}
    return {key: value for key, value in (told | doses).items() if isinstance(value, float)}


def run(controller, readings, first=1):
    """The knobs after each reading, and the loop at the end."""
    loop = Loop([controller])
    return [loop.take({"step": float(first + i), READING: reading}) for i, reading in enumerate(readings)], loop


def wave(length=40):
    """Readings that pass 0.5 often and stay away from it long."""
    return [0.5 + 0.6 * math.sin(i / 5) for i in range(length)]


any_reading = st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 3)


@every_controller
def test_it_turns_its_knob(name):
    if not positional(name)[1:]:
        pytest.skip("it reads nothing: its knob is known beforehand")
    knobs, _ = run(lively(name), wave())
    assert len({turned["coef"] for turned in knobs}) > 1
    other, _ = run(lively(name), [2 - reading for reading in wave()])
    assert knobs != other, "and what it reads decides how"


@every_controller
@given(readings=st.lists(any_reading, min_size=1, max_size=12))
def test_knobs_are_finite_and_within_the_bounds_it_declares(name, readings):
    controller = lively(name)
    low, high = controller.bounds.get("coef", (-math.inf, math.inf))
    knobs, loop = run(controller, readings)
    for turned in knobs:
        assert set(turned) == set(controller.knobs)
        assert math.isfinite(turned["coef"]) and low <= turned["coef"] <= high
    assert all(math.isfinite(value) for value in loop.aims(float(len(readings))).values())


@every_controller
@given(readings=st.lists(any_reading, min_size=1, max_size=8), more=st.lists(any_reading, min_size=1, max_size=4))
def test_a_state_through_json_goes_on_bit_for_bit(name, readings, more):
    _, loop = run(lively(name), readings)
    kept = json.loads(json.dumps(loop.state(), allow_nan=False))
    again = Loop([lively(name)])
    again.restore(kept)
    assert again.knobs == loop.knobs
    for i, reading in enumerate(more):
        seen = {"step": float(len(readings) + 1 + i), READING: reading}
        assert again.take(seen) == loop.take(seen)
    assert json.dumps(again.state()) == json.dumps(loop.state())


@every_controller
def test_it_is_pure(name):
    """The same bits from the same bits, and neither the state nor the declared beginning is written to."""
    controller, readings = lively(name), wave()
    first, _ = run(controller, readings)
    begin = json.dumps(dict(controller.begin))
    assert first == run(controller, readings)[0]
    assert json.dumps(dict(controller.begin)) == begin
    state, seen = dict(controller.begin), {"step": 1.0, READING: 0.7}
    controller.law(state, seen)
    assert state == dict(controller.begin) and seen == {"step": 1.0, READING: 0.7}


@every_controller
@pytest.mark.parametrize("missing", [{}, {READING: math.nan}, {READING: math.inf}, {READING: -math.inf}])
def test_a_reading_that_is_missing_changes_nothing(name, missing):
    if not lively(name).reads:
        pytest.skip("it reads nothing, so nothing can be missing")
    knobs, loop = run(lively(name), wave(10))
    before = json.dumps(loop.state()["states"])
    assert loop.take({"step": 11.0} | missing) == knobs[-1] and loop.held == 1
    assert json.dumps(loop.state()["states"]) == before
    fresh = Loop([lively(name)])
    assert fresh.take({"step": 1.0} | missing) == {}, "the setting of the method stays"


@every_controller
def test_long_at_a_bound_it_comes_back_as_fast_as_if_it_had_just_come_there(name):
    """No windup: two thousand readings on one side of everything weigh no more than two hundred."""
    for far, other in ((1e4, -1e4), (-1e4, 1e4)):
        ends = []
        for length in (200, 2000):
            _, loop = run(lively(name, **endless(name)), BEGIN + [far] * length)
            back = [loop.take({"step": float(length + 3 + i), READING: other})["coef"] for i in range(30)]
            ends.append(back)
        assert ends[0] == pytest.approx(ends[1], abs=1e-9)


def held_at_one(law, needed, steps=4000):
    """Levels and knobs where a level moves by .04 (knob - needed) a step and is seen with noise of .1; target 1."""
    state, level, levels, knobs, rng = {"integral": 0.0}, 1.0, [], [], Random(0)
    for step in range(steps):
        state, turned = law(state, {READING: level + rng.gauss(0.0, 0.1)})
        level += 0.04 * (turned["coef"] - needed(step))
        levels.append(level)
        knobs.append(turned["coef"])
    return levels, knobs


def conditional(state, seen):
    """The law that was given up: no integration while the knob is at a bound that the error pushes against."""
    error = 1.0 - seen[READING]
    wanted, integral = 4.0 * error + state["integral"], state["integral"]
    if not (abs(wanted) >= 1 and wanted * error > 0):
        integral = min(1.0, max(-1.0, integral + 0.1 * error))
    return {"integral": integral}, {"coef": min(1.0, max(-1.0, wanted))}


OURS = pi("coef", READING, target=1.0, gain=4.0, integral_gain=0.1).law


@pytest.mark.parametrize("needed", [0.0, 0.5, 0.8, -0.8])
def test_noise_that_drives_the_knob_to_a_bound_leaves_no_bias(needed):
    levels, _ = held_at_one(OURS, lambda step: needed)
    assert sum(levels[500:]) / 3500 == pytest.approx(1.0, abs=0.002)


def test_the_figures_of_the_design_note_on_conditional_integration():
    levels, knobs = held_at_one(conditional, lambda step: 0.8)
    assert sum(levels[500:]) / 3500 == pytest.approx(0.93, abs=0.01)
    assert sum(knob == 1.0 for knob in knobs[500:]) / 3500 == pytest.approx(0.44, abs=0.03)
    # out of reach for 400 steps, then easy: what the clamp costs
    tops = [max(held_at_one(law, lambda step: 1.3 if step < 400 else 0.3, 800)[0][400:]) for law in (conditional, OURS)]
    assert tops == [pytest.approx(1.06, abs=0.01), pytest.approx(1.20, abs=0.01)]


def test_one_odd_reading_does_not_fill_the_integral():
    controller = pi("coef", READING, target=1.0, gain=4.0, integral_gain=0.1)
    for odd in (1e300, -1e300):
        state, knobs = controller.law({"integral": 0.3}, {READING: odd})
        assert abs(knobs["coef"]) == 1.0 and abs(state["integral"] - 0.3) == pytest.approx(0.1 * 2 / 4)


@every_controller
def test_two_sided(name):
    """A reading far above and one far below turn the knob to different values."""
    if not lively(name).reads:
        pytest.skip("it reads nothing")
    above, below = (run(lively(name), BEGIN + [far] * 8)[0][-1]["coef"] for far in (50.0, -50.0))
    assert above != below


@every_controller
def test_every_setting_matters(name):
    """Another value of a setting gives other knobs or another aim on some run of readings."""
    usual = traces(lively(name))
    for setting, value in numbers(name).items():
        assert traces(lively(name, **{setting: other_than(setting, value)})) != usual, setting


@every_controller
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_setting_that_is_no_finite_number_is_refused_by_name(name, value):
    for setting in numbers(name):
        with pytest.raises(ValueError, match=setting) as refused:
            lively(name, **{setting: value})
        assert "\n" not in str(refused.value)


@every_controller
def test_the_knob_before_the_first_reading_is_the_methods_own(name):
    assert Loop([lively(name)]).knobs == {}


@every_controller
def test_it_shows_a_number(name):
    assert ">>> " in factory(name).__doc__


def test_they_work_without_torch():
    """The whole folder, in a process that cannot import it."""
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from forkpoint import catalog\n"
        "for name in catalog.names('controllers'): catalog.get('controllers', name)\n"
        "from forkpoint.controllers.pi import pi\n"
        "print(pi('u', 'h', target=0.5, gain=1.0).law({'integral': 0.0}, {'h': 0.25, 'step': 1.0})[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'u': 0.25}"


def endless(name):
    """Edges and set-points that move would tell two hundred readings from two thousand."""
    return {"steps": 1.0} if "steps" in numbers(name) else {}


def traces(controller: Controller):
    runs = [wave(), [1 - reading for reading in wave()], [0.45, 0.55, 0.5] * 13, [9.0] * 20 + [-9.0] * 20]
    aims = []
    for readings in runs:
        knobs, loop = run(controller, readings)
        aims.append((knobs, loop.aims(7.0), loop.aims(30.0)))
    return aims


def other_than(setting, value):
    if setting == "begin":
        return 0.5
    if setting.startswith("upper"):
        return value + 0.05
    if setting == "steps":
        return value + 7.0
    return value / 2 if value else (-0.25 if setting.startswith("low") else 0.25)


# ---- the published sequences


def used(controller, readings, begin):
    """What each step uses: the setting in the first, then what the reading before gave."""
    return [begin, *(turned["coef"] for turned in run(controller, readings)[0][:-1])]


def test_skywork_the_coefficient_of_the_next_step_is_gated_by_this_reading():
    """arXiv:2505.22312 with the step of its released scripts."""
    controller = factory("bang_bang")("coef", READING, target=0.2, delta=1e-4)
    readings = [0.35, 0.25, 0.19, 0.15, 0.10, 0.18, 0.22, 0.19]
    assert used(controller, readings, 0.0) == pytest.approx([0, 0, 0, 1e-4, 2e-4, 3e-4, 4e-4, 0], abs=1e-12)


def test_the_sign_integral_law_without_gate():
    """A clip bound k that rises by 0.25 below 0.3 nats and falls above, within [0, 2.5]."""
    controller = factory("bang_bang")("coef", READING, target=0.3, delta=0.25, high=2.5, gate=False)
    knobs, _ = run(controller, [0.5, 0.28, 0.25, 0.29, 0.31, 0.33])
    assert [turned["coef"] for turned in knobs] == [0, 0.25, 0.5, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("target", "readings", "expected"),
    [
        (0.4, [0.5, 0.4, 0.3, 0.2, 0.3], [0.1, 0.001, -0.099, -0.2, -0.102]),
        (0.5, [0.8, 0.7, 0.6, 0.5, 0.4], [0.3, 0.203, 0.105, 0.006, -0.094]),
    ],
)
def test_entropic_the_integral_holds_the_errors_before_this_one(target, readings, expected):
    """arXiv:2511.15248: gains 1 and 0.01; the weight grows with entropy, so both are negative here."""
    controller = factory("pi")("coef", READING, target=target, gain=-1.0, integral_gain=-0.01)
    knobs, _ = run(controller, readings)
    assert [turned["coef"] for turned in knobs] == pytest.approx(expected, abs=1e-12)


def test_a_budget_of_equal_reward_moves_on_a_line_in_the_exponential():
    plan = factory("budget")("coef", READING, end=0.0, steps=10.0, gain=1.0, warmup=1.0)
    _, loop = run(plan, [math.log(3.0)], first=0)
    aims = [loop.aims(float(step))[f"target/{READING}"] for step in (0, 5, 10, 99)]
    assert aims == pytest.approx([math.log(3.0), math.log(2.0), 0.0, 0.0])


# ---- the loop


def test_a_loop_wants_the_controllers_that_saved_its_state():
    saved = Loop([lively("pi")]).state()
    other = Loop([factory("pi")("share", READING, target=0.5, gain=1.0)])
    with pytest.raises(ValueError, match="the saved controllers turn coef, this method's share; resume with"):
        other.restore(saved)


def test_one_knob_is_turned_by_one_controller():
    with pytest.raises(ValueError, match="two controllers turn 'coef'; leave it to one of them"):
        Loop([lively("pi"), lively("fixed")])


def test_a_reset_forgets_everything():
    _, loop = run(lively("pi"), wave())
    loop.reset()
    assert json.dumps(loop.state()) == json.dumps(Loop([lively("pi")]).state())


@pytest.mark.parametrize(("gain", "integral_gain"), [(1.0, -0.1), (-1.0, 0.1)])
@pytest.mark.parametrize("name", ["pi", "budget"])
def test_gains_of_two_signs_are_refused(name, gain, integral_gain):
    with pytest.raises(ValueError, match="work against each other"):
        lively(name, gain=gain, integral_gain=integral_gain)


@pytest.mark.parametrize("name", ["band", "switch"])
def test_a_band_whose_edges_cross_is_refused(name):
    with pytest.raises(ValueError, match=r"^lower=0.7 is above upper=0.6"):
        lively(name, lower=0.7)
    with pytest.raises(ValueError, match=r"^lower_end=0.3 is above upper_end=0.2"):
        lively(name, upper_end=0.2)
