"""The published methods against numbers that their own code printed (entropy_training_1_6.json says how)."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from tests.laws.thread_ranks import on_ranks

from forkpoint.batch import Plan, Rows, StepBatch, Total
from forkpoint.credit import per_micro_batch
from forkpoint.credit._select import quota
from forkpoint.credit.clip_covariance import clip_covariance
from forkpoint.credit.kl_covariance import kl_covariance
from forkpoint.methods import build
from forkpoint.metrics.clip_share import clip_share
from forkpoint.metrics.covariance import covariance, token_covariance
from forkpoint.objectives.clip import clip
from forkpoint.objectives.marked_kl import marked_kl

GOLDEN = json.loads((Path(__file__).parent / "entropy_training_1_6.json").read_text(encoding="utf-8"))
DIGITS = 6e-9
"""half a unit of the eighth decimal"""


@pytest.fixture
def step():
    inputs = GOLDEN["inputs"]
    old = torch.tensor(inputs["logp_old"], dtype=torch.float64)
    logp = old + torch.tensor(inputs["log_ratio"], dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor(inputs["lengths"]).unsqueeze(1)
    return StepBatch(logp, old, mask, torch.tensor(inputs["advantage"], dtype=torch.float64))


def positions(tokens):
    return tokens.nonzero().tolist()


def test_covariance_of_every_token(step):
    moments, golden = covariance(step), GOLDEN["covariance"]
    assert moments.value == pytest.approx(golden["mean"], abs=DIGITS)
    assert (moments.mean_x, moments.mean_y) == pytest.approx((golden["mean_logp"], golden["mean_advantage"]), abs=6e-8)
    for row, expected in zip(token_covariance(step), GOLDEN["covariance"]["tokens"], strict=True):
        assert row[: len(expected)].tolist() == pytest.approx(expected, abs=6e-7)


@pytest.mark.parametrize("case", GOLDEN["losses"], ids=lambda case: f"{case['method']}-{case['settings']}")
def test_loss_and_chosen_tokens(step, case):
    method = build(case["method"], **case["settings"])
    plan = method.plan(step)
    assert float(method.step_loss(step)) == pytest.approx(case["loss"], abs=DIGITS)
    if "removed" in case:
        assert positions(plan.weight == 0) == case["removed"]
    if "marked" in case:
        assert positions(plan.mark) == case["marked"]
    if "clip_share" in case:
        low, high = case["settings"]["clip_low"], case["settings"]["clip_high"]
        assert clip_share(step, low=low, high=high).value == pytest.approx(case["clip_share"], abs=6e-7)


def test_share_one_marks_every_token(step):
    assert torch.equal(build("kl_cov", share=1.0).plan(step).mark, step.mask)


def test_the_whole_band_is_eight_of_twenty_one(step):
    band = next(case for case in GOLDEN["losses"] if case["method"] == "clip_cov")
    plan = build("clip_cov", **band["settings"]).plan(step)
    assert float((plan.weight == 0).sum() / step.mask.sum()) == pytest.approx(0.380952, abs=6e-7)


def test_a_penalty_on_every_token_has_no_gradient_while_every_ratio_is_one(step):
    slopes = []
    for method in (build("kl_cov", share=1.0), build("grpo")):
        logp = step.logp_old.clone().requires_grad_()
        method.step_loss(replace(step, logp=logp)).backward()
        slopes.append(logp.grad)
    assert torch.equal(*slopes) and slopes[0].any()


def test_dual_clip_could_not_have_mattered(step):
    """The official run clipped -r A at 3 |A| for A < 0; here no such ratio comes near 3."""
    ratio = (step.logp - step.logp_old).exp()
    assert ratio[step.mask & (step.advantage < 0).unsqueeze(1)].max() < 3


@pytest.mark.parametrize("seed", range(5))
def test_a_partial_draw_takes_its_quota_from_the_band(step, seed):
    """share 0.2 of 21 tokens is 4 of the 8 in the band; which four is ours to draw."""
    band = next(case["removed"] for case in GOLDEN["losses"] if case["method"] == "clip_cov")
    rule = clip_covariance(share=0.2, low=0.2)
    removed = positions(rule(step, Plan.neutral(step), (seed, 0)).weight == 0)
    assert len(removed) == 4 and all(token in band for token in removed)


@pytest.mark.parametrize("loss", GOLDEN["clip_cov_drawn"]["losses"])
def test_a_published_draw_is_one_of_those_that_the_quota_allows(step, loss):
    """Their generator's draw is theirs; the loss of the four tokens it drew is ours to the last digit."""
    band = next(case["removed"] for case in GOLDEN["losses"] if case["method"] == "clip_cov")
    objective, rows = clip(clip_low=1.0, clip_high=1.0), Rows(step.logp, step.logp_old, step.mask)

    def without(tokens):
        weight = torch.ones_like(step.logp)
        weight[tuple(torch.tensor(tokens).T)] = 0.0
        return float(Total.of(step.mask).reduce(objective(rows, replace(Plan.neutral(step), weight=weight)), step.mask))

    assert sum(without(tokens) == pytest.approx(loss, abs=DIGITS) for tokens in combinations(band, 4)) == 1


def test_at_least_one_token_per_part_is_many_tokens_of_many_parts():
    """N = 8192 and share 2e-4: one token of the whole, one of each of eight parts."""
    mask = torch.ones(8, 1024, dtype=torch.bool)
    assert quota(2e-4, mask) == 1 and sum(quota(2e-4, row.unsqueeze(0)) for row in mask) == 8


@pytest.mark.parametrize("case", GOLDEN["kl_cov_by_micro_batch"], ids=lambda case: str(case["parts"]))
def test_however_ranks_share_the_rows_the_tokens_are_those_of_the_whole(step, case):
    whole, rule = GOLDEN["kl_cov_by_micro_batch"][0], kl_covariance(share=0.2)
    step = replace(step, row_id=torch.arange(4))

    def planned(ranks):
        mine = replace(step.rows(torch.tensor(case["parts"][ranks.index])), ranks=ranks)
        return rule(mine, Plan.neutral(mine), (0, 0)).mark

    parts = on_ranks(len(case["parts"]), planned)
    marked = torch.zeros_like(step.mask)
    for rows, mark in zip(case["parts"], parts, strict=True):
        marked[rows] = mark
    assert positions(marked) == whole["marked"]


@pytest.mark.parametrize("case", GOLDEN["kl_cov_by_micro_batch"], ids=lambda case: str(case["parts"]))
def test_micro_batch_scope_reproduces_selection_inside_the_loss(step, case):
    plan, loss = kl_cov_in_parts(step, case["parts"])
    assert positions(plan.mark) == case["marked"]
    assert loss == pytest.approx(case["loss"], abs=DIGITS)


def test_a_row_on_its_own_has_no_covariance_to_select_by(step):
    golden = GOLDEN["kl_cov_one_row_each"]
    plan, loss = kl_cov_in_parts(step, [[0], [1], [2], [3]])
    assert not plan.mark.any()
    assert loss == pytest.approx(golden["ours"], abs=DIGITS)
    penalties = sum(abs(GOLDEN["inputs"]["log_ratio"][row][token]) for row, token in golden["official_marked"]) / 21
    assert loss + penalties == pytest.approx(golden["official"], abs=2 * DIGITS)


def kl_cov_in_parts(step, parts):
    rule = per_micro_batch(kl_covariance(share=0.2), *(torch.tensor(part) for part in parts))
    plan = rule(step, Plan.neutral(step), (0, 0))
    loss = marked_kl(coef=1.0)(Rows(step.logp, step.logp_old, step.mask), plan)
    return plan, float(Total.of(step.mask).reduce(loss, step.mask))
