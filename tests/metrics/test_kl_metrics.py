"""The KL estimators against the exact KL of small distributions, and where float32 breaks."""

import math

import pytest
import torch

from forkpoint import metrics
from forkpoint.batch import StepBatch
from forkpoint.metrics.clip_share import clip_share
from forkpoint.metrics.kl_abs import kl_abs
from forkpoint.metrics.kl_k1 import kl_k1
from forkpoint.metrics.kl_k2 import kl_k2
from forkpoint.metrics.kl_k3 import kl_k3

OLD = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
NEW = torch.tensor([0.4, 0.4, 0.1, 0.1], dtype=torch.float64)


def tokens(logp: torch.Tensor, logp_old: torch.Tensor) -> StepBatch:
    """One row of tokens with these log-probs."""
    return StepBatch(
        logp.view(1, -1), logp_old.view(1, -1), torch.ones(1, logp.numel(), dtype=torch.bool), torch.ones(1)
    )


def expectation(metric, old: torch.Tensor, new: torch.Tensor) -> float:
    """The metric's exact mean over tokens sampled from old: by enumeration, not by sampling."""
    return sum(w.item() * metric(tokens(n.log(), o.log())).value for w, o, n in zip(old, old, new, strict=True))


def kl(p: torch.Tensor, q: torch.Tensor) -> float:
    return (p * (p / q).log()).sum().item()


@pytest.mark.parametrize("metric", [kl_k1, kl_k3])
def test_k1_and_k3_are_unbiased_for_kl_from_old_to_new(metric):
    assert expectation(metric, OLD, NEW) == pytest.approx(kl(OLD, NEW), rel=1e-12)
    assert abs(kl(OLD, NEW) - kl(NEW, OLD)) > 1e-3, "the example must tell the two directions apart"


def test_k2_is_biased_but_right_to_second_order():
    near = OLD + 1e-4 * (NEW - OLD)
    assert expectation(kl_k2, OLD, near) == pytest.approx(kl(OLD, near), rel=1e-3, abs=0)
    assert abs(expectation(kl_k2, OLD, NEW) - kl(OLD, NEW)) > 1e-3


def test_abs_is_first_order_where_kl_is_second():
    near, nearer = OLD + 1e-3 * (NEW - OLD), OLD + 1e-4 * (NEW - OLD)
    assert expectation(kl_abs, OLD, near) / expectation(kl_abs, OLD, nearer) == pytest.approx(10, rel=1e-2)
    assert expectation(kl_k3, OLD, near) / expectation(kl_k3, OLD, nearer) == pytest.approx(100, rel=1e-2)


def test_only_k1_can_be_negative():
    step = tokens(torch.tensor([-1.0]), torch.tensor([-2.0]))
    assert kl_k1(step).value == -1
    assert [kl_k2(step).value, kl_abs(step).value] == [0.5, 1]
    assert kl_k3(step).value == pytest.approx(math.e - 2)


@pytest.mark.parametrize("d", [-80.0, -1e-8, 1e-8, 80.0])
def test_k3_keeps_its_digits_at_both_ends(d):
    """At 80, exp leaves half precision; at 1e-8, exp(d) - 1 - d would cancel to noise, so its series is the oracle."""
    expected = d * d / 2 * (1 + d / 3) if abs(d) < 1 else math.exp(d) - d - 1
    step = tokens(torch.tensor([d], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert kl_k3(step).value == pytest.approx(expected, rel=1e-6, abs=0)


def test_k3_beyond_float64_is_inf_and_not_a_number_made_up():
    assert kl_k3(tokens(torch.tensor([800.0]), torch.zeros(1))).value == math.inf


def test_on_policy_every_distance_is_exactly_zero():
    step = tokens(OLD.log(), OLD.log())
    for metric in (kl_k1, kl_k2, kl_k3, kl_abs, clip_share):
        assert metric(step).value == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "clipped"),
    [
        (1.3, 1, True),
        (1.3, -1, False),
        (0.7, -1, True),
        (0.7, 1, False),
        (0.81, -1, False),
        (1.19, 1, False),
        (1.1, 1, False),
        (0.9, -1, False),
        (1.3, 0, False),
    ],
)
def test_clip_share_counts_exactly_the_tokens_whose_gradient_is_gone(ratio, advantage, clipped):
    logp = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    step = StepBatch(logp, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), torch.tensor([float(advantage)]))
    r = logp.exp()
    torch.minimum(r * advantage, r.clamp(0.8, 1.2) * advantage).sum().backward()
    assert clip_share(step).value == clipped
    if advantage:
        assert (logp.grad.item() == 0) == clipped


def test_clip_share_takes_a_methods_own_bounds():
    step = tokens(torch.tensor([1.25, 1.5]).log(), torch.zeros(2))
    assert [clip_share(step).value, clip_share(step, high=0.28).value, clip_share(step, high=1.0).value] == [
        1.0,
        0.5,
        0.0,
    ]


def test_a_log_ratio_of_two_impossible_tokens_is_nan_everywhere():
    impossible = torch.tensor([-math.inf, -1.0])
    readings = metrics.measure(tokens(impossible, impossible))
    assert all(math.isnan(readings[key].value) for key in ("kl/k1", "kl/k2", "kl/k3", "kl/abs", "clip_share"))
