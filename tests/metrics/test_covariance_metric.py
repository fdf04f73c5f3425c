"""Covariance against numpy, where a naive sum of squares fails, and its tokens against its value."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from forkpoint.batch import StepBatch
from forkpoint.metrics.covariance import Comoment, covariance, token_covariance


def random_step(seed: int = 0) -> StepBatch:
    draw = torch.Generator().manual_seed(seed)
    return StepBatch(
        logp=-3 * torch.rand(6, 8, generator=draw),
        logp_old=-3 * torch.rand(6, 8, generator=draw),
        mask=torch.rand(6, 8, generator=draw) < 0.7,
        advantage=torch.randn(6, generator=draw),
    )


def numpy_covariance(step: StepBatch, logp: torch.Tensor) -> float:
    x = logp[step.mask].double().numpy()
    y = step.advantage.unsqueeze(1).expand_as(logp)[step.mask].double().numpy()
    return float(np.cov(x, y, ddof=0)[0, 1])


@pytest.mark.parametrize("seed", range(5))
def test_equals_numpy(seed):
    step = random_step(seed)
    assert covariance(step).value == pytest.approx(numpy_covariance(step, step.logp), rel=1e-12)
    assert covariance(step, at="rollout").value == pytest.approx(numpy_covariance(step, step.logp_old), rel=1e-12)


@pytest.mark.parametrize("at", ["update", "rollout"])
def test_token_terms_average_to_the_covariance(at):
    step = random_step()
    terms = token_covariance(step, at)
    assert terms.dtype is torch.float64
    assert terms[step.mask].mean().item() == pytest.approx(covariance(step, at).value, rel=1e-12)
    assert (terms[~step.mask] == 0).all()


def test_token_terms_carry_no_gradient_and_no_masked_nan():
    step = random_step()
    hidden = replace(step, logp=torch.where(step.mask, step.logp, torch.nan).requires_grad_())
    assert torch.equal(token_covariance(hidden), token_covariance(step))
    assert not token_covariance(hidden).requires_grad


@pytest.mark.parametrize("constant", ["logp", "advantage"])
def test_nothing_varies_no_covariance(constant):
    step = random_step()
    step = replace(step, **{constant: torch.full_like(getattr(step, constant), 0.1)})
    assert (token_covariance(step) == 0).all(), "exactly 0: selection rules test for it"


def test_merging_survives_a_large_offset():
    """Sums of x, y and x y would lose every digit: 1e8 squared is 1e16, the limit of float64."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=1000), draw.normal(size=1000)
    parts = [
        Comoment.of(torch.from_numpy(x[i : i + 10] + 1e8), torch.from_numpy(y[i : i + 10] + 1e8))
        for i in range(0, 1000, 10)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    assert merged.num == 1000
    assert merged.value == pytest.approx(np.cov(x, y, ddof=0)[0, 1], abs=1e-6)


def test_empty_masks_are_legal():
    step = replace(random_step(), mask=torch.zeros(6, 8, dtype=torch.bool))
    assert np.isnan(covariance(step).value)
    assert (token_covariance(step) == 0).all()


def test_a_policy_that_is_none_is_refused():
    unchecked = inspect.unwrap(covariance)  # under the tests' type check the value would not get this far
    with pytest.raises(ValueError, match=r"'rolout': choose 'update' .* 'rollout'"):
        unchecked(random_step(), at="rolout")


def test_the_law_it_stands_for():
    """One bandit: a natural-gradient step lowers entropy by cov(log p, A), to first order (arXiv:2505.22617, Thm 2)."""
    z = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    reward = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    p = z.softmax(-1)
    advantage = reward - (p * reward).sum()
    num = (p * 1_000_000).round().long()
    step = StepBatch(
        logp=p.log().repeat_interleave(num).unsqueeze(1),
        logp_old=torch.zeros(int(num.sum()), 1),
        mask=torch.ones(int(num.sum()), 1, dtype=torch.bool),
        advantage=advantage.repeat_interleave(num),
    )
    rate = 0.001
    moved = (z + rate * advantage).softmax(-1)
    drop = (moved * moved.log()).sum() - (p * p.log()).sum()
    assert rate * covariance(step).value == pytest.approx(drop.item(), rel=1e-3)
