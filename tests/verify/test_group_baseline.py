"""What a completion without a verdict does to its group, in the real trainer: nothing."""

import pytest
import torch

from forkpoint.config import RunConfig
from forkpoint.recipes.train import make_trainer
from forkpoint.tasks.countdown import countdown
from forkpoint.verify._score import _pool
from tests.verify.scorers import SometimesHangs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"),
]
GROUPS, SIZE = 6, 8


@pytest.fixture(scope="module", params=["leave_out", "wrong"])
def rollout(request, tmp_path_factory):
    """(choice, rewards with nan where the scorer hung, advantages, the losses of two updates) of one rollout."""
    task = SometimesHangs(**vars(countdown()))
    config = RunConfig(
        steps=2, prompts_per_step=GROUPS, samples_per_prompt=SIZE, no_verdict=request.param, threads=1
    )  # fmt: skip
    trainer = make_trainer(config, task, str(tmp_path_factory.mktemp("host")))
    original, seen = trainer._generate_and_score_completions, {}

    def see(inputs):
        batch = original(inputs)
        texts = [
            trainer.processing_class.decode(row[mask.bool()], skip_special_tokens=True)
            for row, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
        ]
        prompts = [row["prompt"] for row in inputs]
        rewards = [
            float("nan") if task.hangs(p, t) else float(super(SometimesHangs, task).score(task.read(p), t).correct)
            for p, t in zip(prompts, texts, strict=True)
        ]
        seen.update(rewards=torch.tensor(rewards), advantages=batch["advantages"].clone())
        return batch

    trainer._generate_and_score_completions = see
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "grad_norm" in log]
    weights = [weight for weight in trainer.model.state_dict().values()]
    yield request.param, seen["rewards"].view(GROUPS, SIZE), seen["advantages"].view(GROUPS, SIZE), (losses, weights)
    _pool.cache_clear()


def test_the_rollout_holds_every_kind_of_group(rollout):
    missing = rollout[1].isnan().sum(1)
    assert (missing == SIZE).any() and ((missing > 0) & (missing < SIZE)).any()
    assert (rollout[1].nan_to_num().sum(1) > 0).any()


def test_a_row_without_a_verdict_has_no_advantage_and_does_not_shift_the_others(rollout):
    choice, rewards, advantages, _ = rollout
    for group, found in zip(rewards, advantages, strict=True):
        judged = ~group.isnan() if choice == "leave_out" else torch.ones(SIZE, dtype=torch.bool)
        values = group.nan_to_num()[judged]
        expected = torch.zeros(SIZE)
        if len(values) > 1:
            expected[judged] = (values - values.mean()) / (values.std() + 1e-4)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        if choice == "leave_out":
            assert (found[group.isnan()] == 0).all()


def test_training_stays_finite(rollout):
    losses, weights = rollout[3]
    assert len(losses) == 2 and all(torch.isfinite(torch.tensor(losses)))
    assert all(weight.isfinite().all() for weight in weights)
