"""Methods joined by ``+``: what the parts do one after the other, under one objective."""

import json
from dataclasses import replace

import pytest
import torch
from tests.laws.random_steps import differentiable, random_step

from forkpoint import catalog
from forkpoint.batch import Plan, Rows, StepBatch, Total
from forkpoint.controllers import Controller, Loop
from forkpoint.controllers.bang_bang import bang_bang
from forkpoint.credit.clip_covariance import clip_covariance
from forkpoint.credit.entropy_shaping import entropy_shaping
from forkpoint.credit.group_mean import group_mean
from forkpoint.credit.kl_covariance import kl_covariance
from forkpoint.credit.pass_at_k_advantage import pass_at_k_advantage
from forkpoint.credit.rank_bonus import rank_bonus
from forkpoint.credit.role_bonus import role_bonus
from forkpoint.credit.top_entropy import top_entropy
from forkpoint.methods import Method, build, method
from forkpoint.objectives.clip import clip
from forkpoint.objectives.marked_kl import marked_kl
from forkpoint.objectives.preserved_clip import preserved_clip

KEY = (5, 9)
USUAL = {"mid_rank": 10.0, "mid_velocity": 0.5, "mid_acceleration": 0.5}
BY_HAND = {
    "forking_tokens+gppo": ({"share": 0.3}, [top_entropy(share=0.3)], preserved_clip()),
    "forking_tokens+grpo": ({"normalize": "all"}, [top_entropy(normalize="all")], clip()),
    "hicra+kl_cov": ({"share": 0.2}, [group_mean(), role_bonus(), kl_covariance(share=0.2)], marked_kl()),
    "kl_cov+entropy_advantage": ({"share": 0.2}, [kl_covariance(share=0.2), entropy_shaping()], marked_kl()),
    "rank_shaping+dapo": (USUAL, [rank_bonus(**USUAL)], clip(clip_high=0.28)),
    "entropy_advantage+clip_cov": (
        {"share": 0.3, "low": 0.2},
        [entropy_shaping(), clip_covariance(share=0.3, low=0.2)],
        clip(clip_low=1.0, clip_high=1.0),
    ),
    "pass_at_k+hicra+entropy_advantage": (
        {"k": 2.0, "baseline": "host"},
        [pass_at_k_advantage(k=2.0), role_bonus(), entropy_shaping()],
        clip(),
    ),
}
"""what each is: settings, credit rules in order, objective"""
every_composition = pytest.mark.parametrize("name", BY_HAND)
seeds = pytest.mark.parametrize("seed", range(5))


def gradient_of(loss_of, step):
    step = differentiable(step)
    loss = loss_of(step)
    loss.backward()
    return loss.detach(), step.logp.grad


@every_composition
@seeds
def test_plan_and_gradient_are_those_of_the_parts_by_hand(name, seed):
    settings, rules, objective = BY_HAND[name]
    step, joined = random_step(seed), build(name, **settings)
    plan = Plan.neutral(step)
    for rule in rules:
        plan = rule(step, plan, KEY)
    made = joined.plan(step, key=KEY)
    assert torch.equal(made.advantage, plan.advantage)
    assert torch.equal(made.weight, plan.weight) and torch.equal(made.mark, plan.mark)

    def by_hand(step):
        rows = Rows(step.logp, step.logp_old, step.mask, step.entropy)
        return Total.of(step.mask).reduce(objective(rows, plan), step.mask)

    expected, slope = gradient_of(by_hand, step)
    loss, found = gradient_of(lambda step: joined.step_loss(step, key=KEY), step)
    assert torch.equal(loss, expected) and torch.equal(found, slope) and bool(slope.any())


@every_composition
def test_each_part_of_it_shows(name):
    """The negative control: without any one part the gradient is another."""
    settings, _, _ = BY_HAND[name]
    joined, names = build(name, **settings), name.split("+")
    for left_out in range(len(names)):
        others = names[:left_out] + names[left_out + 1 :]
        known = {setting for other in others for setting in build(other).settings}
        rest = build("+".join(others), **{k: v for k, v in settings.items() if k in known})
        steps = [random_step(seed) for seed in range(10)]
        slopes = [
            [gradient_of(lambda s, m=m: m.step_loss(s, key=KEY), step)[1] for step in steps] for m in (joined, rest)
        ]
        assert any(not torch.equal(one, other) for one, other in zip(*slopes, strict=True)), names[left_out]


def covariance_by_hand(step, advantage):
    logp, advantage = step.logp.double()[step.mask], advantage.double()[step.mask]
    values = torch.zeros(step.mask.shape, dtype=torch.float64)
    values[step.mask] = (logp - logp.mean()) * (advantage - advantage.mean())
    return values


@seeds
def test_the_covariance_that_selects_is_of_the_advantage_that_is_trained(seed):
    step = random_step(seed)
    trained, host = build("hicra").plan(step).advantage, Plan.neutral(step).advantage
    marks = build("hicra+kl_cov", share=0.2).plan(step).mark
    least = covariance_by_hand(step, trained)[step.mask].sort(descending=True).values[int(marks.sum()) - 1]
    assert int(marks.sum()) == max(1, int(0.2 * int(step.mask.sum())))
    assert torch.equal(marks, step.mask & (covariance_by_hand(step, trained) >= least))
    assert not torch.equal(marks, build("kl_cov", share=0.2).plan(step).mark), "the host's advantage chooses others"
    shaped = build("entropy_advantage").plan(step).advantage
    found = build("entropy_advantage+clip_cov", share=1.0, low=0.1, clip_low=1.0, clip_high=80.0).plan(step)
    band = covariance_by_hand(step, shaped)
    assert torch.equal(found.weight == 0, step.mask & (band > 0.1) & (band < 5.0)) and not torch.equal(shaped, host)


def test_a_rule_sees_an_advantage_where_the_host_has_none():
    step = replace(random_step(0), advantage=torch.zeros(len(random_step(0).advantage)))
    assert not build("kl_cov", share=0.2).plan(step).mark.any()
    assert build("hicra+kl_cov", share=0.2).plan(step).mark.any()


@every_composition
def test_what_the_whole_declares_is_what_its_parts_do(name):
    joined, parts = build(name, **BY_HAND[name][0]), [build(part) for part in name.split("+")]
    assert joined.name == name and set(joined.reads) == {field for part in parts for field in part.reads}
    assert joined.needs_off_policy == any(part.needs_off_policy for part in parts)
    assert joined.intervenes == any(part.intervenes for part in parts)
    assert set(joined.sets) == {setting for part in parts for setting in part.sets}
    assert len(joined.controllers) == sum(len(part.controllers) for part in parts)
    assert joined.sharded == all(part.sharded for part in parts)


@pytest.mark.parametrize("name", ["forking_tokens+clip_cov", "forking_tokens+kl_cov"])
@pytest.mark.parametrize("seed", range(5))
def test_no_choice_is_spent_on_a_token_that_an_earlier_rule_removed(name, seed):
    """As many are chosen as a share of all tokens says, among those that are trained."""
    chosen = "kl_cov" if "kl_cov" in name else "clip_cov"
    band = {} if chosen == "kl_cov" else {"low": 0.0, "high": 100.0}
    step = random_step(seed, on_policy=True)
    forks = build("forking_tokens", share=0.5).plan(step).weight != 0
    plan = build(name, **{"forking_tokens.share": 0.5, f"{chosen}.share": 0.15}, **band).plan(step, key=KEY)
    picked = plan.mark if chosen == "kl_cov" else forks & (plan.weight == 0)
    assert not (picked & ~forks).any() and int(picked.sum()) == int(0.15 * step.mask.sum())


# ---- settings


def test_settings_keep_their_names_and_those_of_an_objective_that_gave_way_are_gone():
    assert build("hicra+kl_cov").settings == {
        "alpha": 0.2,
        "role": "planning",
        "baseline": "group_mean",
        "share": 2e-3,
        "coef": 1.0,
        "at": "update",
    }
    with pytest.raises(ValueError, match=r"hicra\+kl_cov has no setting 'clip_low'"):
        build("hicra+kl_cov", clip_low=0.1)


def test_of_stand_ins_alone_the_first_stays():
    joined = build("pass_at_k+hicra", baseline="host")
    assert (joined.settings["clip_high"], joined.stand_in) == (0.2, ("clip_low", "clip_high"))
    assert build("hicra+ucpo").settings["clip_high"] == 0.28


def test_a_setting_that_two_parts_have_bears_the_part():
    joined = build("entropy_advantage+rank_shaping", **{"rank_shaping.kappa": 4.0}, **USUAL)
    assert (joined.settings["entropy_advantage.kappa"], joined.settings["rank_shaping.kappa"]) == (2.0, 4.0)
    assert "kappa" not in joined.settings
    step = random_step(3)
    by_hand = rank_bonus(**USUAL, kappa=4.0)(step, entropy_shaping()(step, Plan.neutral(step), KEY), KEY)
    assert torch.equal(joined.plan(step).advantage, by_hand.advantage)


@every_composition
def test_knobs_turn_the_part_they_belong_to(name):
    joined, step = build(name, **BY_HAND[name][0]), random_step(1)
    for setting, value in joined.settings.items():
        if isinstance(value, float):
            turned = joined.with_knobs(**{setting: value / 2})
            assert turned.settings == {**joined.settings, setting: value / 2} and turned.name == name
            assert torch.equal(turned.step_loss(step), joined.step_loss(step, {setting: value / 2}))


def test_a_wrong_value_names_its_part():
    with pytest.raises(ValueError, match=r"^hicra: alpha=2.0"):
        build("hicra+kl_cov", alpha=2.0)


# ---- feedback


def test_a_controller_turns_its_setting_under_the_name_that_the_whole_gives_it():
    joined = build("rank_shaping+dapo")
    loop = Loop(joined.controllers)
    usual = loop.take({"step": 1.0, "rank/effective": 12.0, "rank/velocity": 0.5, "rank/acceleration": -0.25})
    assert usual == {"mid_rank": 12.0, "mid_velocity": 0.5, "mid_acceleration": -0.25}
    step = random_step(0)
    before, after = joined.plan(step), joined.with_knobs(**usual).plan(step)
    assert torch.equal(before.advantage, Plan.neutral(step).advantage), "nothing is usual yet"
    assert not torch.equal(after.advantage, before.advantage)


def test_averages_go_on_after_a_resume():
    joined, readings = build("rank_shaping+dapo"), [8.0, 20.0, 14.0, 9.0]
    taken = [{"step": 0.0, "rank/effective": x, "rank/velocity": x / 9, "rank/acceleration": -x} for x in readings]
    whole, first, second = Loop(joined.controllers), Loop(joined.controllers), Loop(joined.controllers)
    expected = [whole.take(reading) for reading in taken]
    for reading in taken[:2]:
        first.take(reading)
    second.restore(json.loads(json.dumps(first.state())))
    assert [second.take(reading) for reading in taken[2:]] == expected[2:]
    # 0.7 (0.7 (0.7 * 8 + 0.3 * 20) + 0.3 * 14) + 0.3 * 9
    assert expected[-1]["mid_rank"] == pytest.approx(11.324, rel=1e-12)


def test_a_batch_without_a_rank_leaves_its_average_alone():
    loop = Loop(build("rank_shaping").controllers)
    loop.take({"rank/effective": 12.0, "rank/velocity": 1.0, "rank/acceleration": 0.5})
    usual = loop.take({"rank/effective": 20.0, "rank/velocity": float("nan"), "rank/acceleration": float("nan")})
    assert usual == {"mid_rank": pytest.approx(14.4), "mid_velocity": 1.0, "mid_acceleration": 0.5}


# ---- what is refused, in one line with the reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dapo+kl_cov", "dapo and kl_cov each bring an objective and a step has one loss"),
        ("hicra+clip_cov+gppo", "clip_cov and gppo each bring an objective"),
        ("hicra+hicra", "name two different methods or more"),
        ("hicra+", "no '' in methods"),
        ("hicra+klcov", "did you mean 'kl_cov'"),
    ],
)
def test_a_composition_that_makes_no_sense_is_refused(name, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        build(name)
    assert "\n" not in str(refused.value)


def test_two_averages_are_refused():
    @method
    def over_tokens() -> Method:
        return Method((), clip(), reduction="token_mean", stand_in=("clip_low",))

    from forkpoint.methods._compose import compose

    with pytest.raises(ValueError, match="one averages over tokens and another over answers"):
        compose(over_tokens(), build("gspo"))
    with pytest.raises(ValueError, match="one averages over tokens and another over answers"):
        build("forking_tokens+gmpo")


def test_two_controllers_of_one_knob_are_refused():
    def law(state, reading):
        return state, {"share": 0.1}

    def twice(*, share: float = 0.1) -> Method:
        controller = Controller(("share",), ("entropy/full",), law)
        return Method((), clip(), controllers=(controller, controller))

    with pytest.raises(ValueError, match=r"^twice: a controller turns 'share', which is no setting of it or another's"):
        method(twice)()
    with pytest.raises(ValueError, match="two controllers turn 'share'; leave it to one of them"):
        Loop([Controller(("share",), (), law)] * 2)


@pytest.mark.parametrize("gate", [True, False])
def test_a_controller_that_would_end_the_run_is_refused_before_it_begins(gate):
    """The gate holds the knob at 0, where a share chooses nothing."""

    def gated(*, share: float = 0.02) -> Method:
        controller = bang_bang(
            "share", "entropy/full", target=0.5, delta=1e-3, low=1e-3, high=0.1, begin=0.02, gate=gate
        )
        return Method((kl_covariance(share=share),), marked_kl(), controllers=(controller,))

    if gate:
        with pytest.raises(ValueError, match=r"^gated: a controller turns share to 0, but share=0\.0: it is"):
            method(gated)()
    else:
        assert method(gated)().settings == {"share": 0.02}


def test_knobs_that_move_together_are_left_to_their_law():
    """At its own end each would contradict the other's start: low < high fails, which the law never comes to."""

    def law(state, reading):
        return state, {"low": 0.4, "high": 0.7}

    def lockstep(*, low: float = 0.1, high: float = 0.4) -> Method:
        bounds = {"low": (0.0, 0.5), "high": (0.3, 0.8)}
        controller = Controller(("low", "high"), ("entropy/full",), law, bounds=bounds)
        return Method((clip_covariance(low=low, high=high),), clip(), controllers=(controller,))

    def counting(*, share: float = 0.1, k: int = 2) -> Method:
        turned = Controller(("share",), ("entropy/full",), law, bounds={"share": (0.1, 1.0), "gone": (0.0, 1.0)})
        counted = Controller(("k",), ("entropy/full",), law, bounds={"k": (1.0, 4.0)})
        rules = tuple(kl_covariance(share=share) for _ in range(k))
        return Method(rules, marked_kl(), controllers=(turned, counted))

    assert method(lockstep)().settings == {"low": 0.1, "high": 0.4}
    assert method(counting)().settings == {"share": 0.1, "k": 2}


def test_ends_are_tried_before_the_run_and_never_within_it():
    """Where one knob has come is another's start then, and an end that this contradicts may never be reached."""

    def law(state, reading):
        return state, {}

    def two(*, low: float = 0.1, high: float = 0.6) -> Method:
        bounds = {"low": (0.0, 0.5), "high": (0.4, 0.8)}
        controllers = tuple(Controller((k,), ("entropy/full",), law, bounds={k: bounds[k]}) for k in bounds)
        return Method((clip_covariance(low=low, high=high),), clip(), controllers=controllers)

    assert method(two)().with_knobs(high=0.45).settings == {"low": 0.1, "high": 0.45}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("hicra+pass_at_k", r"drop one \(of hicra, baseline=host does\)"),
        ("quantile_advantage+nsr", "drop one"),
        ("nsr+quantile_advantage", "drop one"),
        ("nsr+dr_grpo", "drop one"),
        ("entropy_advantage+rloo", "name rloo first"),
        ("kl_cov+hicra", "name hicra first"),
        ("entropic+nsr", "name nsr first"),
    ],
)
def test_an_advantage_that_another_part_would_overwrite_is_refused(name, remedy):
    first, later = name.split("+")
    done = "(set one|chosen by another)"
    says = f"{later} takes the advantage from rewards and {first} has {done} before; {remedy}"
    with pytest.raises(ValueError, match=says):
        build(name)
    build(f"{later}+{first}") if "first" in remedy else None


@pytest.mark.parametrize("first", catalog.names("methods"))
def test_what_can_be_joined_can_be_planned(first):
    """No pair is refused only once a run has begun."""
    joined = 0
    for second in catalog.names("methods"):
        try:
            made = build(f"{first}+{second}")
        except ValueError as refused:
            assert "\n" not in str(refused)
            continue
        joined += 1
        assert made.step_loss(random_step(0)).isfinite(), second
    assert joined


def test_a_rule_by_hand_that_would_overwrite_an_advantage_is_refused_at_the_step():
    shaped = Method((role_bonus(), group_mean()), clip(), name="mine")
    with pytest.raises(ValueError, match="takes the advantage from rewards and an earlier rule has set one: put it"):
        shaped.plan(random_step(0))


def test_a_method_put_together_by_hand_joins_no_other():
    from forkpoint.methods._compose import compose

    with pytest.raises(ValueError, match="put together by hand"):
        compose(Method((), clip(), name="mine"), build("hicra"))


def test_rewards_that_one_part_needs_bind_the_whole():
    assert build("pass_at_k+entropy_advantage").rewards == (0.0, 1.0)
    step = random_step(0)
    with pytest.raises(ValueError, match="defined for rewards of 0 and 1 and met"):
        build("pass_at_k+entropy_advantage", k=2.0).plan(replace(step, reward=step.reward + 0.5))


def test_a_composition_reads_what_its_parts_read():
    bare = random_step(0)
    bare = StepBatch(bare.logp, bare.logp_old, bare.mask, bare.advantage, entropy=bare.entropy)
    with pytest.raises(ValueError, match="label"):
        build("forking_tokens+hicra", baseline="host").plan(bare)
