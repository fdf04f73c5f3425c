"""Losses, gradients and advantages of the published code on random batches (ratio_objectives.json says how)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit.group_mean import group_mean
from forkpoint.credit.leave_one_out import leave_one_out
from forkpoint.methods import build

GOLDEN = json.loads((Path(__file__).parent / "ratio_objectives.json").read_text(encoding="utf-8"))
CASES = [(case, number) for case in GOLDEN["cases"] for number in range(len(GOLDEN["batches"]))]
ROUNDING = 3e-8
"""the published code adds 1e-8 to its denominators"""

every_case = pytest.mark.parametrize(
    ("case", "number"), CASES, ids=[f"{c['method']}-{c['source'][:9]}-{c['settings']}-{n}" for c, n in CASES]
)


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


def batch(number):
    given = GOLDEN["batches"][number]
    mask = torch.tensor(given["mask"], dtype=torch.bool)
    return StepBatch(float64(given["logp"]), float64(given["logp_old"]), mask, float64(given["advantage"]))


def loss_and_gradient(method, step, **options):
    leaf = step.logp.clone().requires_grad_()
    loss = method.step_loss(replace(step, logp=leaf), **options)
    loss.backward()
    return float(loss.detach()), leaf.grad


@every_case
def test_loss_and_gradient_are_those_of_the_published_code(case, number):
    step = batch(number)
    loss, gradient = loss_and_gradient(build(case["method"], **case["settings"]), step)
    assert loss == pytest.approx(case["loss"][number], rel=ROUNDING)
    expected = float64([slope for row in case["gradient"][number] for slope in row])
    torch.testing.assert_close(gradient[step.mask], expected, rtol=ROUNDING, atol=1e-12)
    assert not gradient[~step.mask].any()


def test_the_batches_reach_what_the_methods_are_for():
    """Ratios outside both bounds under advantages of both signs, masks with holes, and rows of one token."""
    steps = [batch(number) for number in range(len(GOLDEN["batches"]))]
    ratio = torch.cat([(step.logp - step.logp_old).exp()[step.mask] for step in steps])
    good = torch.cat([(step.advantage > 0).unsqueeze(1).expand_as(step.mask)[step.mask] for step in steps])
    for side in (ratio < 0.6, ratio > 1.5):
        assert (side & good).sum() >= 5 and (side & ~good).sum() >= 5
    assert (ratio[~good] > 10).any(), "beyond the dual clip"
    assert any((step.mask.sum(1) == 1).any() for step in steps)
    assert any((step.mask[:, 1:] & ~step.mask[:, :-1]).any() for step in steps)


@pytest.mark.parametrize("name", sorted({case["method"] for case in GOLDEN["cases"]}))
def test_no_two_settings_of_a_method_agree(name):
    """So that a setting which does not arrive would be seen."""
    told = {str(case["settings"]): case["loss"] for case in GOLDEN["cases"] if case["method"] == name}
    losses = [loss for case in told.values() for loss in case]
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize(("name", "rule"), [("dr_grpo", group_mean()), ("rloo", leave_one_out())])
def test_advantages_are_those_of_the_published_code(name, rule):
    given = GOLDEN["advantages"]
    rows = len(given["reward"])
    step = StepBatch(
        torch.zeros(rows, 2), torch.zeros(rows, 2), torch.ones(rows, 2, dtype=torch.bool), torch.zeros(rows)
    )
    step = replace(step, reward=float64(given["reward"]), group=torch.tensor(given["group"]))
    found = rule(step, Plan.neutral(step), (0, 0)).advantage
    torch.testing.assert_close(found, float64(given[name]).float().unsqueeze(1).expand(-1, 2), rtol=1e-6, atol=1e-7)


# ---- GPPO's gradient weights, in numbers that the general form printed: bounds 0.2 and 0.28, dual clip 10

RATIOS = [0.5, 0.9, 1.1, 1.5, 12.0]
WEIGHTS = {
    "dapo": ({}, [0.5, 0.9, 1.1, 0.0, 0.0], [0.0, 0.9, 1.1, 1.5, 12.0]),
    "gppo": ({}, [0.5, 0.9, 1.1, 1.28, 1.28], [0.8, 0.9, 1.1, 1.5, 0.0]),
    "gppo low": ({"beta_low": 0.25}, [0.5, 0.9, 1.1, 1.28, 1.28], [0.2, 0.9, 1.1, 1.5, 0.0]),
    "gppo high": ({"beta_high": 0.5}, [0.5, 0.9, 1.1, 0.64, 0.64], [0.8, 0.9, 1.1, 1.5, 0.0]),
    "cispo": ({"clip_low": 0.2, "clip_high": 0.28}, [0.8, 0.9, 1.1, 1.28, 1.28], [0.8, 0.9, 1.1, 1.28, 1.28]),
}


def both_signs():
    logp = float64([RATIOS, RATIOS]).log()
    return StepBatch(logp, torch.zeros_like(logp), torch.ones(2, 5, dtype=torch.bool), float64([1.0, -1.0]))


@pytest.mark.parametrize("name", WEIGHTS)
def test_gradient_weights_of_both_signs(name):
    settings, good, bad = WEIGHTS[name]
    _, gradient = loss_and_gradient(build(name.split()[0], **settings), both_signs())
    torch.testing.assert_close(-10 * gradient, float64([good, [-weight for weight in bad]]))


def test_the_value_of_gppo_is_that_of_the_clipped_surrogate_and_beta_scales_it():
    """0.924 with the dual clip, as PPO has it; a weight smaller by 0.6 on one of ten tokens makes it 0.06 less."""
    assert loss_and_gradient(build("gppo"), both_signs())[0] == pytest.approx(0.924)
    assert loss_and_gradient(build("gppo", beta_low=0.25), both_signs())[0] == pytest.approx(0.864)
    at_most_ten = both_signs()
    at_most_ten = replace(at_most_ten, logp=at_most_ten.logp.clamp(max=float(float64(10.0).log())))
    assert loss_and_gradient(build("dapo"), at_most_ten)[0] == pytest.approx(0.924)


def test_right_answers_are_also_learned_by_their_likelihood():
    """Where nothing is clipped and no advantage is left, what remains is -0.1 log p of the right row's tokens."""
    logp = float64([[-1.0, -2.0], [-3.0, -5.0]])
    step = StepBatch(logp, logp, torch.tensor([[True, True], [True, False]]), float64([0.0, 0.0]))
    step = replace(step, reward=float64([1.0, 0.0]))
    loss, gradient = loss_and_gradient(build("gppo", positive_coef=0.1), step)
    assert loss == pytest.approx(0.1 * 3.0 / 3)
    torch.testing.assert_close(gradient, float64([[-0.1 / 3, -0.1 / 3], [0.0, 0.0]]))
    assert loss_and_gradient(build("gppo"), step)[0] == 0.0
