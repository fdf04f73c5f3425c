"""What every method promises, whoever adds one."""

import inspect
import math
import re
from dataclasses import fields, replace
from functools import cache
from importlib import import_module
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_steps import differentiable, padded, poisoned, random_step, small_step, unpacked, without_tokens

from forkpoint import catalog
from forkpoint.batch import Plan, Rows, StepBatch, Total
from forkpoint.controllers import Loop
from forkpoint.methods import Method, build
from forkpoint.objectives.trajectory_clip import trajectory_clip

NAMES = catalog.names("methods")
every_method = pytest.mark.parametrize("name", NAMES)
seeds = pytest.mark.parametrize("seed", range(4))


@cache
def lively(name):
    """The method with its doses raised, so that a step of thirty tokens shows what it does; its file may say how."""
    doses = {"share": 0.3, "coef": 0.5} | getattr(import_module(f"forkpoint.methods.{name}"), "LIVELY", {})
    return build(name, **{k: v for k, v in doses.items() if k in build(name).settings})


def gradients(method, step, **options):
    """Loss, d loss / d logp and d loss / d entropy (0 where it is not used)."""
    step = differentiable(step)
    loss = method.step_loss(step, **options)
    loss.backward()
    flat = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in (step.logp, step.entropy)]
    return loss.detach(), *flat


def same_plan(one, other):
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("advantage", "weight", "mark"))


# ---- the step may be cut, ordered and padded in any way


@every_method
@seeds
@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
def test_micro_batches_add_up_to_the_step(name, seed, reduction):
    method, whole, step = lively(name), random_step(seed), differentiable(random_step(seed))
    total = Total.of(step.mask, reduction)
    plan = method.plan(step)
    parts = [slice(0, 1), slice(1, 3), slice(3, 5)]
    losses = [method.loss(rows_of(step.rows(part)), plan.rows(part), total) for part in parts]
    sum(losses).backward()
    loss, by_logp, by_entropy = gradients(method, whole, total=total)
    torch.testing.assert_close(sum(losses).detach(), loss, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(step.logp.grad, by_logp, rtol=1e-5, atol=1e-8)
    if step.entropy.grad is not None:
        torch.testing.assert_close(step.entropy.grad, by_entropy, rtol=1e-5, atol=1e-8)


@every_method
@seeds
def test_order_of_rows_does_not_matter(name, seed):
    method, step = lively(name), random_step(seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    assert same_plan(method.plan(step.rows(order)), method.plan(step).rows(order))
    _, by_logp, by_entropy = gradients(method, step)
    _, shuffled_logp, shuffled_entropy = gradients(method, step.rows(order))
    torch.testing.assert_close(shuffled_logp, by_logp[order], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(shuffled_entropy, by_entropy[order], rtol=1e-5, atol=1e-8)


@every_method
@seeds
def test_a_masked_token_never_matters(name, seed):
    method, step = lively(name), random_step(seed)
    clean, dirty = gradients(method, step), gradients(method, poisoned(step))
    for expected, found in zip(clean, dirty, strict=True):
        assert torch.equal(expected, found)
    assert (dirty[1][~step.mask] == 0).all() and (dirty[2][~step.mask] == 0).all()


@every_method
@seeds
def test_padding_never_matters(name, seed):
    method, step = lively(name), random_step(seed)
    clean, larger = gradients(method, step), gradients(method, poisoned(padded(step)))
    torch.testing.assert_close(larger[0], clean[0], rtol=1e-6, atol=0)
    for expected, found in zip(clean[1:], larger[1:], strict=True):
        torch.testing.assert_close(found[:5, :7], expected, rtol=1e-6, atol=0)
        assert not found[5:].any() and not found[:, 7:].any()


@every_method
@seeds
def test_the_columns_that_a_row_lies_in_do_not_matter(name, seed):
    """Left-padded, or taken out of a packed forward with gaps between: the order of a row's tokens is all there is."""
    method, step = lively(name), random_step(seed)
    places = torch.rand(5, 20, generator=torch.Generator().manual_seed(seed)).topk(7).indices.sort().values
    clean, moved = gradients(method, step), gradients(method, poisoned(unpacked(step, places)))
    torch.testing.assert_close(moved[0], clean[0], rtol=1e-6, atol=0)
    for expected, found in zip(clean[1:], moved[1:], strict=True):
        torch.testing.assert_close(found.gather(1, places), expected, rtol=1e-6, atol=0)
    plan, there = method.plan(step), method.plan(unpacked(step, places))
    assert torch.equal(there.mark.gather(1, places)[step.mask], plan.mark[step.mask])


# ---- what the gradient means


@every_method
@pytest.mark.parametrize("on_policy", [True, False])
def test_no_advantage_no_policy_gradient(name, on_policy):
    """Nor without a reward, for those that make the advantage from rewards themselves: no verdict teaches nothing."""
    step = random_step(0, on_policy=on_policy)
    unknown = {field: torch.full_like(getattr(step, field), torch.nan) for field in ("reward", "group_reward")}
    _, by_logp, _ = gradients(lively(name), replace(step, advantage=torch.zeros(5), **unknown))
    assert (by_logp == 0).all()


@every_method
@seeds
def test_on_policy_every_token_is_pushed_by_its_advantage(name, seed):
    """One dose for all: the gradient is -weight A / N, so a good answer's tokens go up and a bad one's down."""
    method, step = lively(name), random_step(seed, on_policy=True)
    _, by_logp, _ = gradients(method, step)
    plan = method.plan(step)
    push = torch.where(step.mask, plan.weight * plan.advantage, 0.0)
    assert torch.equal(by_logp.sign(), -push.sign())


@every_method
def test_needs_off_policy_is_honest(name):
    """True: on-policy it is plain policy gradient. False: some on-policy step tells it apart.

    Exempt is one that is plain there and means to be: that is what it must be then.
    """
    method = lively(name)
    moved = []
    for seed in range(20):
        step = random_step(seed, on_policy=True)
        leaf = torch.zeros_like(step.logp).requires_grad_()
        method.total(step.mask).reduce(-step.advantage.unsqueeze(1) * leaf, step.mask).backward()
        plain = leaf.grad
        _, by_logp, by_entropy = gradients(method, step)
        moved.append(not torch.allclose(by_logp, plain, rtol=1e-6, atol=0) or bool(by_entropy.any()))
    plain_on_purpose = "needs_off_policy" in exemptions(name)
    assert not (plain_on_purpose and method.needs_off_policy)
    assert any(moved) == (not method.needs_off_policy and not plain_on_purpose)


@every_method
def test_every_setting_matters(name):
    """A knob that moves nothing would be a knob that lies: it moves a loss, a controller, or what the host samples."""
    method = lively(name)
    for setting in method.settings:
        turned = method.with_knobs(**{setting: another_value(method, setting)})
        steps = [random_step(seed) for seed in range(30)]
        if not method.rewards:  # where any reward will do, some between 0 and 1
            steps += [replace(step, reward=step.reward * 0.4, group_reward=step.group_reward * 0.4) for step in steps]
        moved = any(float(method.step_loss(step)) != float(turned.step_loss(step)) for step in steps)
        sampled = (method.shift, method.rank_stride) != (turned.shift, turned.rank_stride)
        assert moved or sampled or controlled(method) != controlled(turned), setting


@every_method
def test_exemptions_name_laws_and_give_reasons(name):
    for law, reason in exemptions(name).items():
        assert any(law in test for test in globals()) and len(reason) > 20


# ---- draws


@every_method
def test_a_plan_is_a_function_of_seed_and_step(name):
    method, steps = lively(name), [random_step(seed) for seed in range(10)]
    plans = [method.plan(step, key=(3, 7)) for step in steps]
    assert all(same_plan(plan, method.plan(step, key=(3, 7))) for plan, step in zip(plans, steps, strict=True))
    by_seed = [not same_plan(plan, method.plan(step, key=(4, 7))) for plan, step in zip(plans, steps, strict=True)]
    by_step = [not same_plan(plan, method.plan(step, key=(3, 8))) for plan, step in zip(plans, steps, strict=True)]
    assert any(by_seed) == any(by_step)


@every_method
def test_a_plan_leaves_global_randomness_alone(name):
    before = torch.random.get_rng_state()
    lively(name).plan(random_step(0))
    assert torch.equal(before, torch.random.get_rng_state())


# ---- numbers


@st.composite
def extreme_steps(draw):
    num_rows, num_tokens = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = num_rows * num_tokens
    log_ratio = st.sampled_from([-80.0, -1e-7, 0.0, 1e-7, 80.0]) | st.floats(-80, 80, width=32)

    def table(values):
        return torch.tensor(draw(st.lists(values, min_size=size, max_size=size))).view(num_rows, num_tokens)

    # whole numbers, so that log-prob minus its old value is the log-ratio that was asked for
    logp_old = table(st.integers(-16, 0)).float()
    advantage = st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-10, 10, width=32)
    step = replace(
        small_step(draw(st.integers(0, 9)), num_rows, num_tokens),
        logp=logp_old + table(log_ratio),
        logp_old=logp_old,
        mask=table(st.booleans()),
        advantage=torch.tensor(draw(st.lists(advantage, min_size=num_rows, max_size=num_rows))),
        entropy=table(st.sampled_from([0.0, 1.0, 11.5])),
    )
    return in_dtype(step, draw(st.sampled_from([torch.float32, torch.bfloat16])))


@settings(max_examples=max(500, settings().max_examples))
@given(step=extreme_steps())
def test_values_and_gradients_are_finite(step):
    """Log-ratios to +-80: exp(80) fits float32 and bfloat16, and so does a gradient that in float64 is not larger.

    exp(240), a row's product of three such ratios, fits float64 alone. Of what is representable a tenth is asked for:
    up to nine tokens are added up before they are averaged.
    Every example meets every method: drawing one takes four times as long as a method's two gradients.
    """
    for name in NAMES:
        exact = gradients(lively(name), in_dtype(step, torch.float64))
        for found, true in zip(gradients(lively(name), step), exact, strict=True):
            assert found.isfinite().logical_or(true.abs() > 3e37).all() and not true.isnan().any(), name


def test_a_ratio_of_an_answer_may_overflow_where_its_share_of_the_loss_does_not():
    """e^89 is no float32; a third of it is. Found by the campaign."""
    step = StepBatch(
        torch.tensor([[80.0, 9.0], [0.0, 0.0]]),
        torch.zeros(2, 2),
        torch.tensor([[True, True], [True, False]]),
        torch.tensor([-0.25, 1.0]),
        entropy=torch.zeros(2, 2),
    )
    objective = trajectory_clip()
    logp = step.logp.clone().requires_grad_()
    loss = objective(Rows(logp, step.logp_old, step.mask), Plan.neutral(step))
    (loss[0, 0] / 4).backward()
    expected = 0.25 * math.exp(89)
    assert float(loss[0, 0].detach()) == pytest.approx(expected, rel=1e-4)
    assert float(logp.grad[0, 0]) == pytest.approx(2 * expected / 4, rel=1e-4) and not logp.grad[1].any()


def in_dtype(step, dtype):
    values = {f.name: getattr(step, f.name) for f in fields(step)}
    return replace(step, **{k: v.to(dtype) for k, v in values.items() if torch.is_tensor(v) and v.is_floating_point()})


@every_method
def test_a_token_that_the_policy_has_lost_leaves_gradients_finite(name):
    """A log-prob of -inf, as of a logit that is masked out since it was sampled."""
    step = random_step(0)
    logp, (row, token) = step.logp.clone(), step.mask.nonzero()[0].tolist()
    logp[row, token] = -torch.inf
    _, *slopes = gradients(lively(name), replace(step, logp=logp))
    assert all(slope.isfinite().all() for slope in slopes) and any(slope.any() for slope in slopes)


@every_method
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 1)])
def test_a_step_without_tokens_costs_nothing(name, shape):
    loss, by_logp, by_entropy = gradients(lively(name), replace(without_tokens(shape), advantage=torch.ones(shape[0])))
    assert loss == 0 and not by_logp.any() and not by_entropy.any()


@every_method
def test_a_nan_among_the_trained_tokens_shows(name):
    step = random_step(0)
    row, token = (step.mask & (lively(name).plan(step).weight != 0)).nonzero()[0].tolist()
    step.logp[row, token] = torch.nan
    assert lively(name).step_loss(step).isnan()


# ---- settings, names, sources


@every_method
def test_defaults_are_echoed_and_the_name_is_the_file(name):
    method = build(name)
    signature = inspect.signature(catalog.get("methods", name))
    assert isinstance(method, Method) and method.name == name
    assert method.settings == {key: parameter.default for key, parameter in signature.parameters.items()}
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in signature.parameters.values())


@every_method
def test_knobs_rebuild_the_method(name):
    method, step = lively(name), random_step(1)
    for setting in method.settings:
        knobs = {setting: another_value(method, setting)}
        turned = method.with_knobs(**knobs)
        assert turned.settings == {**method.settings, **knobs} and turned.name == name
        assert same_plan(turned.plan(step, key=(1, 2)), method.plan(step, knobs, (1, 2)))
        assert torch.equal(turned.step_loss(step), method.step_loss(step, knobs))


@every_method
def test_a_misspelt_setting_is_refused_with_the_nearest(name):
    setting = next(iter(build(name).settings))
    for attempt in (
        lambda: build(name, **{f"{setting}x": 0.1}),
        lambda: build(name).with_knobs(**{f"{setting}x": 0.1}),
    ):
        with pytest.raises(ValueError, match=rf"^{name} has no setting '{setting}x'; did you mean '{setting}'\?"):
            attempt()


@every_method
@pytest.mark.parametrize("value", ["0.2", None, True, float("nan"), float("inf"), -1e9])
def test_a_setting_out_of_range_is_refused_in_one_line(name, value):
    for setting in build(name).settings:
        if setting == "low" and value == -1e9:
            continue  # a covariance band may begin anywhere
        with pytest.raises(ValueError) as refused:
            build(name, **{setting: value})
        message = str(refused.value)
        assert message.startswith(f"{name}: ") and setting in message and "\n" not in message


@every_method
def test_a_whole_number_is_a_number(name):
    for setting, value in numbers(build(name).settings).items():
        whole = int(max(value, 1.0))
        assert build(name, **{setting: whole}).settings[setting] == float(whole)


@every_method
def test_reads_is_honest(name):
    method = build(name)
    step = StepBatch(**{k: getattr(random_step(0), k) for k in ("logp", "logp_old", "mask", "advantage")})
    filled = replace(step, **{field: getattr(random_step(0), field) for field in method.reads})
    assert method.step_loss(filled).isfinite()
    for field in method.reads:
        with pytest.raises(ValueError, match=field):
            method.step_loss(replace(filled, **{field: None}))


@every_method
def test_every_method_names_its_source_and_shows_a_number(name):
    module = import_module(f"forkpoint.methods.{name}")
    assert re.search(r"arXiv:\d{4}\.\d{5}", module.__doc__.partition("\n")[0])
    assert ">>> " in catalog.get("methods", name).__doc__


def numbers(settings):
    return {setting: value for setting, value in settings.items() if not isinstance(value, str)}


def controlled(method):
    """The knobs over readings that pass every set-point often, and the set-points themselves."""
    loop, told = Loop(method.controllers), []
    for step in range(40):
        reading = dict.fromkeys(loop.reads, 0.5 + 0.6 * math.sin(step / 5)) | {"step": float(step + 1)}
        told.append((loop.take(reading), loop.aims(float(step + 1))))
    return told


def another_value(method, setting):
    """Half of a number, or another of the words that the setting may be."""
    if setting in numbers(method.settings):
        return method.settings[setting] / 2 or 0.5
    words = get_args(inspect.signature(catalog.get("methods", method.name)).parameters[setting].annotation)
    return next(word for word in words if word != method.settings[setting])


def rows_of(step):
    return Rows(step.logp, step.logp_old, step.mask, step.entropy)


def exemptions(name):
    return getattr(import_module(f"forkpoint.methods.{name}"), "EXEMPT", {})
