"""What ``manage`` and ``watch`` refuse or warn of before a step is made: each in one line, by name."""

import pytest
import torch
from tests.trainers.conftest import TASK
from trl import GRPOTrainer, RLOOTrainer, SFTTrainer
from trl.experimental.gmpo import GMPOTrainer

from forkpoint.methods import Method, build
from forkpoint.methods.grpo import grpo
from forkpoint.record.read import open_run
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers.trl import forks_by_reference, labeled_by_grams, manage, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class OwnLoss(GRPOTrainer):
    def compute_loss(self, *args, **kwargs):
        return 1000 * super().compute_loss(*args, **kwargs)


class OwnReward(GRPOTrainer):
    def _calculate_rewards(self, *args, **kwargs):
        return super()._calculate_rewards(*args, **kwargs)


@pytest.mark.parametrize(
    ("wrong", "asked", "says"),
    [
        (RLOOTrainer, {}, "manage: RLOOTrainer is no class of GRPOTrainer"),
        (SFTTrainer, {}, "manage: SFTTrainer is no class of GRPOTrainer"),
        (dict, {}, "manage: dict is no class of GRPOTrainer"),
        (OwnLoss, {}, "manage: OwnLoss has a compute_loss of its own"),
        (GMPOTrainer, {}, "manage: GMPOTrainer has a _compute_loss of its own"),
        (manage(GRPOTrainer, method="dapo"), {}, "manage: ManagedGRPOTrainer is managed already, by dapo; join"),
        (GRPOTrainer, {"scope": "batch"}, "manage: scope='batch'; it is one of step, micro_batch"),
        (GRPOTrainer, {"labels": "countdown"}, "manage: labels='countdown'; give a task"),
        (GRPOTrainer, {"labels": labeled_by_grams}, "manage: labels=<class"),
        (GRPOTrainer, {"method": None}, "manage: method=None; give a method's name"),
    ],
)
def test_what_cannot_be_managed_is_said_at_once(wrong, asked, says, unchecked):
    with pytest.raises(ValueError) as refused:
        manage(wrong, **asked)
    assert str(refused.value).startswith(says) and "\n" not in str(refused.value)


def test_a_subclass_with_another_reward_is_managed(train):
    _, _, trainer = train(manage(OwnReward, method="grpo"), max_steps=1)
    assert isinstance(trainer, OwnReward)


def test_an_alarm_has_three_answers(train, unchecked, tmp_path):
    with pytest.raises(ValueError, match="watch: on_alarm='explode'; it is one of log, checkpoint, stop"):
        train(GRPOTrainer, prepare=lambda trainer: watch(trainer, out=tmp_path / "run", on_alarm="explode"))


def test_a_group_that_teaches_nothing_is_refused(train):
    """With k = n every advantage of pass_at_k is 0."""
    with pytest.raises(HostError, match=r"pass_at_k teaches nothing of 8 completions per prompt.*to 9 or more"):
        train(manage(GRPOTrainer, method="pass_at_k", k=8.0))
    with pytest.raises(HostError, match=r"pass_at_k\+entropy_advantage teaches nothing of 8"):
        train(manage(GRPOTrainer, method=build("pass_at_k+entropy_advantage", k=8.0)))


def test_labels_of_another_shape_are_refused_at_the_first_rollout(train):
    def short(prompts, token_ids, mask, tokenizer):
        return torch.zeros(len(mask), 2, dtype=torch.long)

    with pytest.raises(HostError, match=r"labels returned \(32, 2\); give a tensor of \(32, .*, a Label per token"):
        train(manage(GRPOTrainer, method="hicra", labels=short))


@pytest.mark.parametrize(
    ("asked", "role", "has"),
    [
        ({"method": "hicra", "labels": forks_by_reference(), "reference": "tiny"}, "planning", "fork, execution"),
        ({"method": "fork_thermostat", "labels": lambda p, ids, mask, t: 2 * mask.long()}, "fork", "execution"),
    ],
    ids=["credit", "controller"],
)
def test_a_role_that_no_token_has_is_said_at_the_first_rollout(train, asked, role, has):
    says = f"goes by {role} tokens, and none of the first rollout is one: its labels are {has}"
    with pytest.warns(UserWarning, match=says):
        train(manage(GRPOTrainer, **asked), max_steps=1)


def test_a_stride_that_no_answer_reaches_twice_is_said_before_the_run(train):
    with pytest.warns(UserWarning, match="rank_shaping reads how the rank moves between prefixes 40 tokens apart"):
        train(manage(GRPOTrainer, method="rank_shaping"), max_steps=1)


@pytest.mark.parametrize("setting", [{"multi_objective_aggregation": "normalize_then_sum"}, {"scale_rewards": "batch"}])
def test_a_setting_of_an_advantage_that_the_method_makes_itself_is_said_before_the_run(train, setting, recwarn):
    train(manage(GRPOTrainer, method="grpo"), max_steps=1, **setting)
    assert not [one for one in recwarn if "no effect" in str(one.message)]
    ((name, value),) = setting.items()
    with pytest.warns(
        UserWarning, match=f"^{name}={value} has no effect: hicra makes its advantage from the weighted sum"
    ):
        train(manage(GRPOTrainer, method="hicra", labels=TASK), max_steps=1, **setting)


def test_what_a_method_teaches_is_recorded_by_role_beside_what_the_host_said(train, tmp_path):
    managed = manage(GRPOTrainer, method="hicra", baseline="host", alpha=0.5, labels=TASK)
    train(managed, prepare=lambda trainer: watch(trainer, out=tmp_path / "run", task=TASK), max_steps=1)
    (row,) = open_run(tmp_path / "run").metrics("train")
    assert row["advantage/taught/execution"] == pytest.approx(row["advantage/mean/execution"], abs=1e-6)
    lifted = row["advantage/mean/planning"] + 0.5 * row["advantage/abs/planning"]
    assert row["advantage/taught/planning"] == pytest.approx(lifted, abs=1e-6)
    assert open_run(tmp_path / "run").header["definitions"]["advantage/taught"]["by_role"]


def test_a_field_that_no_step_has_and_a_rule_that_returns_no_plan_are_named():
    with pytest.raises(ValueError, match="reads 'entropyy', which no step has; there is logp,"):
        Method((), grpo().objective, reads=("entropyy",))

    def lost(step, plan, key):
        return plan.advantage

    from tests.laws.random_steps import random_step

    with pytest.raises(ValueError, match=r"credit rule .*lost returned Tensor; it must return a Plan"):
        Method((lost,), grpo().objective).plan(random_step(0))


@pytest.fixture
def unchecked(monkeypatch):
    """As where the package is installed: no type is checked at a call."""
    import forkpoint.trainers.trl as module

    for name in ("manage", "watch", "_refuse_wrong_kinds"):
        monkeypatch.setitem(globals(), name, getattr(getattr(module, name), "__wrapped__", getattr(module, name)))
