"""Where TRL has the loss itself, ours is its loss: values and gradients of its own code, and whole runs."""

from dataclasses import replace

import pytest
import torch
from tests.trainers.conftest import countdown_reward, same
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from forkpoint.batch import Rows, StepBatch
from forkpoint.methods import build
from forkpoint.policies import folder
from forkpoint.trainers import _trl_host as host
from forkpoint.trainers.trl import manage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
B, T = 8, 12

LOSSES = {
    "grpo": ({"loss_type": "dapo"}, {}),
    "dapo": ({"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}, {}),
    # TRL clamps the ratio at epsilon_high itself, and at nothing below
    "cispo": ({"loss_type": "cispo", "epsilon_high": 1.2}, {"clip_high": 0.2}),
    "cispo 5": ({"loss_type": "cispo", "epsilon_high": 5.0}, {"clip_high": 4.0}),
    "gspo": (
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
        {},
    ),
    "gspo 0.2": (
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.2, "epsilon_high": 0.3},
        {"clip_low": 0.2, "clip_high": 0.3},
    ),
    "sapo": ({"loss_type": "sapo"}, {}),
    "sapo 3": (
        {"loss_type": "sapo", "sapo_temperature_pos": 3.0, "sapo_temperature_neg": 5.0},
        {"tau_pos": 3.0, "tau_neg": 5.0},
    ),
    "dr_grpo": ({"loss_type": "dr_grpo"}, {}),
}


def trainer_of(cls, config, tmp_path, **settings):
    from datasets import Dataset

    defaults = dict(
        output_dir=str(tmp_path), per_device_train_batch_size=B, num_generations=4, use_cpu=True,
        max_completion_length=T, bf16=False, report_to=[], beta=0.0,
    )  # fmt: skip
    dataset = Dataset.from_dict({"prompt": ["1"] * B})
    args = config(**(defaults | settings))
    return cls(model=folder("tiny"), reward_funcs=countdown_reward, args=args, train_dataset=dataset)


def random_micro_batch(seed):
    """float64, ratios far enough off to clip, answers of every length from one token on; two groups of four."""
    draw = torch.Generator().manual_seed(seed)
    old = -3 * torch.rand((B, T), generator=draw, dtype=torch.float64)
    scale = torch.tensor([0.01, 0.5, 1.0, 0.2] * 2).unsqueeze(1)
    logp = old + scale * torch.randn((B, T), generator=draw, dtype=torch.float64)
    mask = torch.arange(T) < torch.randint(1, T + 1, (B, 1), generator=draw)
    reward = torch.rand(B, generator=draw, dtype=torch.float64).view(2, 4)
    step = StepBatch(
        *(logp, old, mask, torch.randn(B, generator=draw, dtype=torch.float64)),
        reward=reward.view(-1),
        group_reward=reward.repeat_interleave(4, dim=0),
    )
    inputs = {
        "prompt_ids": torch.ones(B, 2, dtype=torch.long), "prompt_mask": torch.ones(B, 2, dtype=torch.long),
        "completion_ids": torch.ones(B, T, dtype=torch.long), "completion_mask": mask.long(),
        "advantages": step.advantage, "old_per_token_logps": old, "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return step, inputs


def theirs(trainer, inputs, logp):
    """TRL's own loss code on given log-probs, with the gradient by them."""
    leaf = logp.clone().requires_grad_()
    trainer._get_per_token_logps_and_entropies = lambda *a, **k: (leaf, torch.zeros_like(leaf), None)
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.detach(), leaf.grad


def ours(method, step, total=None):
    leaf = step.logp.clone().requires_grad_()
    loss = method.loss(Rows(leaf, step.logp_old, step.mask), method.plan(step), total or method.total(step.mask))
    loss.backward()
    return loss.detach(), leaf.grad


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_trls(name, tmp_path):
    config, settings = LOSSES[name]
    method = build(name.split()[0], **settings)
    trainer = trainer_of(GRPOTrainer, GRPOConfig, tmp_path, **config)
    trainer.current_gradient_accumulation_steps = 1
    losses = []
    for seed in range(4):
        step, inputs = random_micro_batch(seed)
        # TRL takes the advantage that scale_rewards="none" makes; our dr_grpo makes the same from the rewards
        inputs["advantages"] = method.plan(step).advantage[:, 0].to(torch.float64)
        host_mean = host.host_reduce(trainer, inputs) if name == "dr_grpo" else None
        found, expected = ours(method, step, host_mean), theirs(trainer, inputs, step.logp)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=1e-9)
        losses.append(round(float(found[0]), 9))
    assert len(set(losses)) == 4, "the losses must differ for equality to mean anything"


@pytest.mark.parametrize("bounds", [(0.2, 0.2), (0.1, 0.9)])
def test_rloo_is_the_loss_of_trls_rloo_trainer(bounds, tmp_path):
    low, high = bounds
    method = build("rloo", clip_low=low, clip_high=high)
    trainer = trainer_of(RLOOTrainer, RLOOConfig, tmp_path, epsilon=low, epsilon_high=high)
    clipped = 0
    for seed in range(6):
        step, inputs = random_micro_batch(seed)
        inputs["advantages"] = method.plan(step).advantage[:, 0].to(torch.float64)
        inputs["old_logps"] = (step.logp_old * step.mask).sum(1)
        found, expected = ours(method, step), theirs(trainer, inputs, step.logp)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=1e-9)
        clipped += int((expected[1][step.mask] == 0).sum())
    assert clipped > 20, "and answers are clipped"


def test_a_bound_that_is_not_trls_is_not_its_loss(tmp_path):
    """The negative control: their cispo at epsilon_high 1.2 is not ours at clip_high 1.2."""
    trainer = trainer_of(GRPOTrainer, GRPOConfig, tmp_path, loss_type="cispo", epsilon_high=1.2)
    trainer.current_gradient_accumulation_steps = 1
    step, inputs = random_micro_batch(0)
    other = ours(build("cispo", clip_high=1.2), step)[1]
    assert not torch.allclose(other, theirs(trainer, inputs, step.logp)[1], rtol=1e-3)


RUNS = {
    "sapo": {"loss_type": "sapo"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
    "cispo": {"loss_type": "cispo", "epsilon_high": 1.2},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_managed_run_is_trls_own_run(train, name):
    """Through the trainer: two updates of the first rollout, in two micro-batches each."""
    cut = {"max_steps": 2, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2}
    stock, managed = train(GRPOTrainer, **cut, **RUNS[name]), train(manage(GRPOTrainer, method=name), **cut)
    assert torch.tensor(managed[0]) == pytest.approx(torch.tensor(stock[0]), rel=1e-3, abs=1e-6)
    assert managed[0][0] != managed[0][1]


def test_a_managed_dr_grpo_is_trls_own(train):
    stock = train(GRPOTrainer, loss_type="dr_grpo", scale_rewards="none", max_steps=4)
    managed = train(manage(GRPOTrainer, method="dr_grpo"), loss_type="dr_grpo", max_steps=4)
    assert torch.tensor(managed[0]) == pytest.approx(torch.tensor(stock[0]), rel=1e-3, abs=1e-6)
    assert not same(stock, train(GRPOTrainer, loss_type="dr_grpo", max_steps=4)), (
        "dividing by the spread is another run"
    )


def test_rows_that_no_function_scored_are_left_out_as_in_trl():
    """nan is no reward: it counts in no mean, and its own row gets the advantage 0."""
    table = torch.tensor([[1.0, torch.nan, 0.0, 0.5]] * 4)
    step = replace(random_micro_batch(0)[0].rows(slice(0, 4)), reward=table[0], group_reward=table)
    assert build("dr_grpo").plan(step).advantage[:, 0].tolist() == pytest.approx([0.5, 0.0, -0.5, 0.0])
    assert build("rloo").plan(step).advantage[:, 0].tolist() == pytest.approx([0.75, 0.0, -0.75, 0.0])
    alone = torch.tensor([[1.0, torch.nan, torch.nan, torch.nan]] * 4)
    step = replace(step, reward=alone[0], group_reward=alone)
    assert not build("rloo").plan(step).advantage.any() and not build("dr_grpo").plan(step).advantage.any()
