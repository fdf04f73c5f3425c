"""The closed loop on a tabular policy: set-points reached, held and reached again; and the bound on gains."""

import numpy as np
import pytest

from forkpoint.methods import build
from forkpoint.studies.step_response import TARGETS, gain, radius, respond

DISTURBED = 150


@pytest.fixture(scope="module")
def held():
    return respond(build("fork_thermostat", **TARGETS), seed=0, steps=310, disturbed=DISTURBED)


def test_both_set_points_are_reached_and_held(held):
    late = slice(100, DISTURBED - 1)
    for curve, target in ((held.fork, TARGETS["target_fork"]), (held.execution, TARGETS["target_execution"])):
        assert abs(curve[0] - target) > 0.2 * target, "it begins elsewhere"
        assert (abs(curve[late] - target) < 0.1 * target).all()


@pytest.mark.parametrize("gain", [4.0, 8.0])
def test_after_a_disturbance_it_comes_back_also_where_the_knob_was_at_its_bound(gain):
    held = respond(build("fork_thermostat", gain=gain, **TARGETS), seed=0, steps=310, disturbed=DISTURBED)
    after = slice(DISTURBED - 1, None)
    assert held.fork[after][0] < 0.9 * TARGETS["target_fork"], "the disturbance is felt"
    assert (held.tilt[after].max() == 1.0) == (gain == 8.0), "the knob saturates under the larger gain"
    late = slice(-30, None)
    assert held.fork[late] == pytest.approx(TARGETS["target_fork"], rel=0.1)
    assert held.execution[late] == pytest.approx(TARGETS["target_execution"], rel=0.1)


def test_without_control_both_are_far_below():
    left = respond(build("grpo"), seed=0, steps=110, disturbed=0)
    assert left.fork[-1] < 0.75 * TARGETS["target_fork"] and left.execution[-1] < 0.5 * TARGETS["target_execution"]


def test_a_budget_leads_entropy_down_its_plan():
    """From what the run starts with to one nat, on a line, within a tenth of a nat once the knob has caught up."""
    method = build("entropy_budget", steps=120.0, end=0.5, shape="linear", gain=5.0, integral_gain=0.1)
    run = respond(method, seed=0, steps=140, disturbed=0)
    both = (run.fork + run.execution) / 2
    start, began = both[:5].mean(), 5
    step = np.arange(1, 141)
    plan = start + (0.5 - start) * np.clip((step - began) / (120 - began), 0, 1)
    assert abs(both - plan)[30:].max() < 0.1
    assert start > 1.2 and both[-1] == pytest.approx(0.5, rel=0.1)


def test_the_change_of_entropy_is_a_line_in_the_tilt():
    drift, slope, fit = gain(seed=0, held=60)
    assert drift < 0 < slope and fit > 0.95


@pytest.mark.parametrize("a", [0.05, 0.25, 0.5, 0.9, 0.99, 1.01, 1.2, 2.0])
@pytest.mark.parametrize("b", [0.001, 0.01, 0.1, 0.2, 0.45])
def test_the_stability_condition_is_that_of_the_poles(a, b):
    """(a - b)^2 < a - 2 b, as the design note says, and no other pair of positive gains is stable."""
    margin = (a - 2 * b) - (a - b) ** 2
    assert abs(margin) > 1e-6
    assert (radius(1.0, a, b) < 1) == (margin > 0)


@pytest.mark.parametrize(("a", "b"), [(0.25, 0.01), (0.9, 0.01), (1.2, 0.01)])
def test_the_poles_tell_how_fast_the_linear_loop_settles(a, b):
    entropy, tilt, integral, seen = 1.0, 0.0, 0.0, []
    for _ in range(400):
        error = -entropy
        entropy += tilt
        tilt, integral = a * error + integral, integral + b * error
        seen.append(abs(entropy))
    late, early = max(seen[150:200]), max(seen[100:150])
    assert (late / early) ** (1 / 50) == pytest.approx(radius(1.0, a, b), rel=0.02)
