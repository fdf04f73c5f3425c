"""token_entropy against a float64 oracle, and its gradient against the formula."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forkpoint.metrics.entropy_full import token_entropy

quick = settings(max_examples=max(300, settings().max_examples))
logit = st.one_of(st.floats(-40, 40, width=32), st.floats(-1e4, 1e4, width=32), st.just(-math.inf))
logits = st.lists(logit, min_size=1, max_size=12).filter(lambda z: max(z) > -math.inf)


def oracle(z: list[float], temperature: float = 1.0) -> float:
    """-sum p ln p in Python floats: no tensor, no softmax of anybody's."""
    top = max(z)
    weight = [math.exp((x - top) / temperature) for x in z]
    total = math.fsum(weight)
    log_p = [(x - top) / temperature - math.log(total) for x in z]
    return math.fsum(-w / total * lp for w, lp in zip(weight, log_p, strict=True) if w > 0)


@quick
@given(logits, st.sampled_from([0.3, 1.0, 2.0]))
@example([0.0], 1.0)
@example([-math.inf, 3.0], 1.0)
@example([1e4, -1e4, -math.inf], 0.3)
def test_float64_equals_the_oracle(z, temperature):
    value = token_entropy(torch.tensor(z, dtype=torch.float64), temperature).item()
    assert value == pytest.approx(oracle(z, temperature), rel=1e-10, abs=1e-12)


@quick
@given(logits)
def test_float32_equals_the_oracle(z):
    value = token_entropy(torch.tensor(z, dtype=torch.float32))
    assert value.dtype is torch.float32
    assert value.item() == pytest.approx(oracle(z), rel=1e-5, abs=2e-6)


@quick
@given(logits)
def test_from_zero_to_ln_v(z):
    value = token_entropy(torch.tensor(z, dtype=torch.float64)).item()
    assert 0 <= value <= math.log(len(z)) + 1e-12
    assert math.copysign(1, value) == 1, "certainty is 0, not -0"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    z = (3 * torch.randn(20, 1000, generator=torch.Generator().manual_seed(0))).to(dtype)
    value = token_entropy(z)
    assert value.dtype is torch.float32
    # the oracle reads the rounded logits: what is left is our arithmetic, not the rounding of the input
    torch.testing.assert_close(value.double(), token_entropy(z.double()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("v", [1, 2, 8, 1000])
def test_uniform_is_ln_v_and_one_hot_is_zero(v):
    one_hot = torch.full((v,), -math.inf)
    one_hot[v // 2] = 5.0
    assert token_entropy(torch.full((v,), -7.0)).item() == pytest.approx(math.log(v), abs=1e-5)
    assert token_entropy(one_hot).item() == 0


@pytest.mark.parametrize(
    "row", [[-math.inf] * 3, [0.0, math.nan, 1.0], [0.0, math.inf, 1.0], [math.inf, -math.inf, 0.0]]
)
def test_a_row_that_is_no_distribution_is_nan_and_harms_no_other(row):
    value = token_entropy(torch.tensor([[0.0, 0.0, 0.0], row]))
    assert value[0].item() == pytest.approx(math.log(3))
    assert math.isnan(value[1])


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (0, 4)])
def test_any_leading_axes(shape):
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    value = token_entropy(z)
    assert value.shape == shape[:-1]
    assert torch.equal(value.flatten(), token_entropy(z.reshape(-1, 4)))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match=r"temperature is .* positive finite"):
        token_entropy(torch.zeros(3), temperature)


@quick
@given(logits, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_gradient_is_finite_and_equals_the_formula(z, temperature):
    x = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = token_entropy(x, temperature)
    value.backward()
    p = (x.detach() / temperature).softmax(-1)
    log_p = torch.where(p > 0, p, 1.0).log()
    formula = -p * (log_p + value.detach()) / temperature
    assert x.grad.isfinite().all()
    torch.testing.assert_close(x.grad, formula, rtol=1e-8, atol=1e-12)


@quick
@given(logits)
def test_the_gradient_is_finite_in_float32(z):
    x = torch.tensor(z, dtype=torch.float32, requires_grad=True)
    token_entropy(x).backward()
    assert x.grad.isfinite().all()


def test_gradcheck_with_impossible_tokens():
    z = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z[0, 2] = z[1, :5] = z[3, ::2] = -math.inf
    assert torch.autograd.gradcheck(lambda x: token_entropy(x, 0.7), z.requires_grad_())


def test_the_gradient_of_a_broken_row_stays_in_that_row():
    z = torch.tensor([[0.0, 1.0], [-math.inf, -math.inf]], requires_grad=True)
    token_entropy(z).sum().backward()
    assert z.grad[0].isfinite().all()
