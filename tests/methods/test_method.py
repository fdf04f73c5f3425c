"""Methods as a host trainer meets them: bit-equal when neutral, plain in what they refuse."""

from dataclasses import replace

import pytest
import torch

from forkpoint.batch import Plan, Rows, StepBatch, Total
from forkpoint.methods import Method, build, method
from forkpoint.objectives.clip import clip

B, T = 8, 33


@pytest.fixture(params=range(5))
def step(request):
    """float32, off-policy, long enough that another order of operations would show in the last bit."""
    draw = torch.Generator().manual_seed(request.param)
    logp_old = -4 * torch.rand(B, T, generator=draw)
    logp = logp_old + torch.randn(B, T, generator=draw)
    mask = torch.arange(T) < torch.randint(1, T + 1, (B, 1), generator=draw)
    return StepBatch(logp, logp_old, mask, torch.randn(B, generator=draw))


def trl_loss(logp, logp_old, advantages, low, high):
    """GRPO's per-token loss as TRL 1.16 writes it (GRPOTrainer._compute_loss, token-level importance sampling)."""
    advantages = advantages.unsqueeze(1)
    coef_1 = torch.exp(logp - logp_old)
    coef_2 = torch.clamp(coef_1, 1 - low, 1 + high)
    return -torch.min(coef_1 * advantages, coef_2 * advantages)


def dapo_reduction(loss, mask):
    return (loss * mask).sum() / torch.tensor(1234.0)


def grpo_reduction(loss, mask):
    return ((loss * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean() / 4


@pytest.mark.parametrize("name", ["grpo", "dapo"])
@pytest.mark.parametrize("reduction", [dapo_reduction, grpo_reduction])
def test_a_neutral_method_is_the_hosts_own_loss_to_the_bit(step, name, reduction):
    settings = build(name).settings
    theirs, ours = step.logp.clone().requires_grad_(), step.logp.clone().requires_grad_()
    per_token = trl_loss(theirs, step.logp_old, step.advantage, settings["clip_low"], settings["clip_high"])
    expected = reduction(per_token, step.mask)
    expected.backward()
    loss = build(name).step_loss(replace(step, logp=ours), total=reduction)
    loss.backward()
    assert torch.equal(loss, expected) and torch.equal(ours.grad, theirs.grad)


def test_bit_equality_would_notice_another_order_of_operations(step):
    """The same mathematics as max(-r A, -clip(r) A) with r = p / p_old: equal to rounding, not to the bit."""
    logp = step.logp
    ratio = logp.exp() / step.logp_old.exp()
    advantage = step.advantage.unsqueeze(1)
    other = torch.maximum(-ratio * advantage, -ratio.clamp(0.8, 1.2) * advantage)
    stock = trl_loss(logp, step.logp_old, step.advantage, 0.2, 0.2)
    torch.testing.assert_close(other, stock, rtol=1e-5, atol=1e-6)
    assert not torch.equal(other, stock)


def test_the_default_total_is_the_mean_over_tokens(step):
    loss = build("grpo").step_loss(step)
    per_token = trl_loss(step.logp, step.logp_old, step.advantage, 0.2, 0.2)
    torch.testing.assert_close(loss, per_token[step.mask].mean())
    by_sequence = build("grpo").step_loss(step, total=Total.of(step.mask, "sequence_mean"))
    assert not torch.isclose(loss, by_sequence)


def test_the_plan_is_made_without_gradient(step):
    """Even by a rule that forgets to detach."""

    def by_probability(step, plan, key):
        return replace(plan, weight=step.logp.exp())

    plan = Method((by_probability,), clip()).plan(replace(step, logp=step.logp.requires_grad_()))
    assert not plan.weight.requires_grad and not plan.advantage.requires_grad


def test_rules_run_in_order(step):
    def add_one(step, plan, key):
        return replace(plan, weight=plan.weight + 1)

    def double(step, plan, key):
        return replace(plan, weight=plan.weight * 2)

    assert (Method((add_one, double), clip()).plan(step).weight == 4).all()
    assert (Method((double, add_one), clip()).plan(step).weight == 3).all()


def test_the_key_reaches_the_rules(step):
    seen = []

    def listen(step, plan, key):
        seen.append(key)
        return plan

    heard = Method((listen,), clip())
    heard.plan(step, key=(5, 9))
    heard.step_loss(step, key=(6, 1))
    heard.plan(step)
    assert seen == [(5, 9), (6, 1), (0, 0)]


def test_entropy_bonus_pays_the_mean_entropy(step):
    entropy = torch.rand(B, T, requires_grad=True)
    loss = build("entropy_bonus", coef=0.25).step_loss(replace(step, entropy=entropy))
    stock = build("grpo").step_loss(step)
    torch.testing.assert_close(loss, stock - 0.25 * entropy[step.mask].mean())
    loss.backward()
    expected = torch.where(step.mask, -0.25 / step.mask.sum(), 0.0)
    torch.testing.assert_close(entropy.grad, expected)


def test_kl_cov_pulls_marked_tokens_back_by_a_constant(step):
    """d/dlogp of coef |log r| is coef sign(log r), however far the token has moved."""
    leaf = step.logp.clone().requires_grad_()
    made, free = build("kl_cov", share=0.2, coef=2.0), build("kl_cov", share=0.2, coef=0.0)
    num_tokens = float(step.mask.sum())
    made.step_loss(replace(step, logp=leaf)).backward()
    penalized, leaf.grad = leaf.grad, None
    free.step_loss(replace(step, logp=leaf)).backward()
    mark = made.plan(step).mark
    expected = torch.where(mark, 2.0 * (step.logp - step.logp_old).sign() / num_tokens, 0.0)
    assert int(mark.sum()) == int(0.2 * num_tokens)
    # the ratios reach e^4, and both gradients were rounded at their size
    torch.testing.assert_close(penalized - leaf.grad, expected, rtol=1e-4, atol=1e-6)


def test_a_method_is_written_as_it_was_called():
    assert repr(build("kl_cov", coef=3)) == "kl_cov(share=0.002, coef=3.0, at='update')"


def test_settings_cannot_be_edited_in_place():
    with pytest.raises(TypeError):
        build("grpo").settings["clip_low"] = 0.5


def test_a_method_from_outside_the_package_is_built_by_its_address():
    assert build("forkpoint.methods.dapo:dapo", clip_high=0.4).settings == {"clip_low": 0.2, "clip_high": 0.4}


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'clip_cov'"):
        build("clipcov")


def test_a_user_method_gets_name_settings_and_knobs(step):
    @method
    def tight(*, bound: float = 0.1) -> Method:
        return Method((), clip(clip_low=bound, clip_high=bound))

    made = tight(bound=0.05)
    assert repr(made) == "tight(bound=0.05)" and tight.__name__ == "tight"
    assert torch.equal(made.step_loss(step), tight().step_loss(step, {"bound": 0.05}))
    with pytest.raises(ValueError, match=r"^tight: clip_low=3.0"):
        made.with_knobs(bound=3.0)
    with pytest.raises(TypeError):
        tight(bond=0.1)


def test_a_method_put_together_by_hand_has_no_knobs():
    with pytest.raises(ValueError, match="put together by hand"):
        Method((), clip()).with_knobs(clip_low=0.1)
    made = Method((), clip())
    assert made.with_knobs() is made


def test_loss_takes_rows_and_the_same_rows_of_the_plan(step):
    made, part = build("grpo"), slice(2, 5)
    plan, total = made.plan(step), Total.of(step.mask)
    rows = Rows(step.logp[part], step.logp_old[part], step.mask[part])
    whole = trl_loss(step.logp, step.logp_old, step.advantage, 0.2, 0.2)[part]
    torch.testing.assert_close(made.loss(rows, plan.rows(part), total), whole[rows.mask].sum() / total.tokens)
    knobs = {"clip_low": 0.01, "clip_high": 0.01}
    assert torch.equal(
        made.loss(rows, plan.rows(part), total, knobs), made.with_knobs(**knobs).loss(rows, plan.rows(part), total)
    )


def test_a_fresh_plan_is_neutral(step):
    neutral = Plan.neutral(step)
    for name in ("grpo", "dapo"):
        plan = build(name).plan(step)
        assert torch.equal(plan.weight, neutral.weight) and torch.equal(plan.advantage, neutral.advantage)
        assert not plan.mark.any()
