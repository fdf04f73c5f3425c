"""The contract with TRL, against the real trainer: neutral is stock, observing changes nothing, mistakes are named."""

import subprocess
import sys

import pytest
import torch
from tests.trainers.conftest import TASK, same
from trl import GRPOTrainer

from forkpoint.record.read import open_run
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers.trl import Evaluation, manage, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
EVALUATION = Evaluation(problems=4, samples=4, every=2, max_tokens=40)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": "dapo"},
        {"loss_type": "grpo"},
        {"loss_type": "bnpo"},
        {"loss_type": "dr_grpo"},
        {"loss_type": "dapo", "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2},
        {"loss_type": "dapo", "num_iterations": 1, "steps_per_generation": 2},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_neutral_is_stock_bit_for_bit(train, settings):
    stock = train(GRPOTrainer, **settings)
    assert same(stock, train(manage(GRPOTrainer, method="grpo"), **settings))
    assert len(stock[0]) == 6
    assert len({loss for loss, _ in stock[0]}) > 3, "the losses must differ for equality to mean anything"


def test_a_method_that_acts_is_not_stock(train):
    """The negative control of the test above."""
    stock = train(GRPOTrainer)
    assert not same(stock, train(manage(GRPOTrainer, method="kl_cov", share=0.05)))
    assert not same(stock, train(manage(GRPOTrainer, method="dapo", clip_high=0.9), learning_rate=2e-3))


CLASSES = {
    "stock": GRPOTrainer,
    "kl_cov": manage(GRPOTrainer, method="kl_cov", share=0.05),
    "clip_cov": manage(GRPOTrainer, method="clip_cov", share=0.05, low=0.05, high=50.0),
}


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_watching_and_evaluating_change_no_bit(train, tmp_path, cls):
    bare = train(cls)
    watched = train(cls, prepare=lambda trainer: watch(trainer, out=tmp_path / "a", task=TASK))
    evaluated = train(cls, prepare=lambda t: watch(t, out=tmp_path / "b", task=TASK, evaluation=EVALUATION))
    assert same(bare, watched)
    assert same(bare, evaluated)
    assert [row["step"] for row in open_run(tmp_path / "b").metrics("eval")] == [0, 2, 4, 6]


UNTOUCHED = """
import random, numpy, torch
from forkpoint.policies import load
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers._evaluation import Evaluation, evaluate

def states():
    return torch.random.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()

model, tokenizer = load("tiny")
model.train()
evaluation = Evaluation(problems=4, samples=4, max_tokens=40)
before = states()
first = evaluate(model, tokenizer, countdown(), evaluation)
assert states() == before and model.training
torch.rand(3)
assert evaluate(model, tokenizer, countdown(), evaluation).values == first.values
print("untouched")
"""


def test_evaluating_leaves_every_random_state_alone():
    """In a process of its own: the type checker that tests run under draws from ``random``."""
    done = subprocess.run([sys.executable, "-c", UNTOUCHED], capture_output=True, text=True)
    assert done.stdout.strip() == "untouched", done.stderr


def test_the_record_says_what_the_host_says(train, tmp_path):
    _, _, trainer = train(GRPOTrainer, prepare=lambda trainer: watch(trainer, out=tmp_path / "run", task=TASK))
    rows = open_run(tmp_path / "run").metrics("train")
    host = [log for log in trainer.state.log_history if "grad_norm" in log]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row, log in zip(rows, host, strict=True):
        assert row["entropy/full"] == pytest.approx(log["entropy"], rel=1e-5)
        assert row["loss"] == pytest.approx(log["loss"], abs=1e-6)
        assert row["grad_norm"] == log["grad_norm"]
        if "reward" in log:
            assert row["reward"] == pytest.approx(log["reward"], rel=1e-5)
            assert row["accuracy"] == pytest.approx(log["reward"], rel=1e-5)


def test_the_loss_of_an_epochs_last_step_is_the_hosts_although_it_has_fewer_micro_batches(train, tmp_path):
    short = {"num_iterations": 1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
    short |= {"steps_per_generation": 2, "num_generations": 8, "max_steps": 4}

    def few_prompts(trainer):
        trainer.train_dataset = trainer.train_dataset.select(range(6))
        watch(trainer, out=tmp_path / "run")

    _, _, trainer = train(GRPOTrainer, prepare=few_prompts, **short)
    host = [log for log in trainer.state.log_history if "grad_norm" in log]
    assert host[1]["epoch"] == 1.0, "two steps, of four and of two micro-batches"
    losses = [row["loss"] for row in open_run(tmp_path / "run").metrics("train")]
    assert losses == pytest.approx([log["loss"] for log in host], abs=1e-6)


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_a_neutral_methods_evaluation_is_stock(train, loss_type):
    cut = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "steps_per_generation": 4}
    settings = cut | {"max_steps": 1, "loss_type": loss_type, "num_iterations": 1}
    evaluated = {"eval_strategy": "no", "per_device_eval_batch_size": 8}

    def loss(cls):
        def on(trainer):
            trainer.eval_dataset = trainer.train_dataset.select(range(3))

        _, _, trainer = train(cls, prepare=on, **settings, **evaluated)
        torch.manual_seed(1)
        return trainer.evaluate()["eval_loss"]

    stock = loss(GRPOTrainer)
    assert stock != 0.0
    assert loss(manage(GRPOTrainer, method="grpo")) == stock


def test_entropy_by_role_adds_up_to_the_whole(train, tmp_path):
    train(GRPOTrainer, max_steps=2, prepare=lambda trainer: watch(trainer, out=tmp_path / "run", task=TASK))
    rollouts = open_run(tmp_path / "run").rollouts(kind="train")
    assert rollouts
    for row in rollouts:
        lengths = {len(row[name]) for name in ("tokens", "token_ids", "entropy", "logp_sampler", "label")}
        assert lengths == {len(row["tokens"])}
        assert row["text"].split() == [token for token in row["tokens"] if not token.startswith("<")]
        assert all(0 <= nats < 5 for nats in row["entropy"])
        assert (row["verdict"] == "correct") == (row["reward"] == 1.0)


def test_the_readings_do_not_depend_on_the_micro_batches(train, tmp_path):
    one = {"per_device_train_batch_size": 32}
    two = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
    tables = []
    for name, settings in (("one", one), ("two", two)):
        train(GRPOTrainer, max_steps=1, prepare=lambda t, n=name: watch(t, out=tmp_path / n, task=TASK), **settings)
        tables.append(open_run(tmp_path / name).metrics("train")[0])
    ours = [key for key in tables[0] if key.startswith(("entropy/", "covariance/", "kl/", "diversity/"))]
    assert len(ours) > 10
    for key in ours:
        assert tables[1][key] == pytest.approx(tables[0][key], rel=1e-4, abs=1e-6, nan_ok=True), key


def test_our_entropy_bonus_trains_like_the_hosts_own(train):
    ours = train(manage(GRPOTrainer, method="entropy_bonus", coef=0.05))
    theirs = train(GRPOTrainer, entropy_coef=0.05)
    for name, weight in theirs[1].items():
        assert torch.allclose(ours[1][name], weight, atol=2e-4), name
    stock = train(GRPOTrainer)
    assert any(not torch.allclose(ours[1][name], weight, atol=2e-4) for name, weight in stock[1].items())


@pytest.mark.parametrize(
    "method, settings, says",
    [
        ("kl_cov", {"num_iterations": 1}, "num_iterations=2"),
        ("dapo", {"epsilon": 0.1}, "epsilon=0.1"),
        ("dapo", {"epsilon_high": 0.4}, "epsilon_high=0.4"),
        ("grpo", {"loss_type": "cispo"}, "cispo"),
        ("entropy_bonus", {"entropy_coef": 0.01}, "entropy_coef=0.01"),
        ("grpo", {"top_entropy_quantile": 0.2}, "top_entropy_quantile=0.2"),
        ("grpo", {"importance_sampling_level": "sequence"}, "importance_sampling_level=sequence"),
    ],
)
def test_a_contradiction_is_refused_with_both_sides_named(train, method, settings, says):
    with pytest.raises(HostError, match=says) as caught:
        train(manage(GRPOTrainer, method=method), **settings)
    assert "\n" not in str(caught.value)
    assert method in str(caught.value)


def test_a_selection_over_pieces_says_so(train):
    with pytest.warns(UserWarning, match="inside each of 2 micro-batches"):
        train(
            manage(GRPOTrainer, method="kl_cov", scope="micro_batch", share=0.05),
            max_steps=1, per_device_train_batch_size=16, gradient_accumulation_steps=2,
        )  # fmt: skip


def test_manage_takes_a_users_own_subclass_and_method(train):
    class Mine(GRPOTrainer):
        mark = "kept"

    _, _, trainer = train(manage(Mine, method="clip_cov", share=0.02, low=0.1), max_steps=2)
    assert trainer.mark == "kept"
    assert trainer.forkpoint_method.settings["share"] == 0.02
    assert "entropy" in trainer.state.log_history[0]


def test_clip_cov_takes_tokens_out_and_kl_cov_marks_them(train):
    _, _, clipped = train(manage(GRPOTrainer, method="clip_cov", share=0.05, low=0.05, high=50.0), max_steps=2)
    assert (clipped.forkpoint_plan.weight == 0).any() and not clipped.forkpoint_plan.mark.any()
    _, _, marked = train(manage(GRPOTrainer, method="kl_cov", share=0.05), max_steps=2)
    assert marked.forkpoint_plan.mark.any() and (marked.forkpoint_plan.weight == 1).all()


@pytest.mark.parametrize("settings", [{"entropy_coef": 0.01}, {"epsilon_high": 0.28}, {}], ids=str)
def test_a_stock_run_says_whether_it_acts_on_entropy(train, tmp_path, settings):
    train(GRPOTrainer, max_steps=1, prepare=lambda t: watch(t, out=tmp_path / "run"), **settings)
    method = open_run(tmp_path / "run").header["method"]
    assert method == {"name": "trl", "settings": {"loss_type": "dapo", **settings}, "intervenes": bool(settings)}


def test_wrong_method_or_setting_gets_one_line():
    with pytest.raises(ValueError, match="did you mean 'kl_cov'"):
        manage(GRPOTrainer, method="kl_kov")
    with pytest.raises(ValueError, match="did you mean 'share'"):
        manage(GRPOTrainer, method="kl_cov", shar=0.1)


def test_a_trl_without_what_we_rely_on_is_refused_with_its_version():
    from forkpoint.trainers import _trl_host

    class Changed:
        """A trainer with reward functions whose private names are gone."""

        reward_funcs, callback_handler = (), None

        def compute_loss(self):
            raise AssertionError

    with pytest.raises(HostError, match=r"trl 1\..* has no _generate_and_score_completions, _calculate_rewards"):
        _trl_host.check_host(Changed())
