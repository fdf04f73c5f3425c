"""Watching TRL's other trainers: they use the same fused head, and are not changed by a bit either."""

import pytest
import torch
from datasets import Dataset
from tests.trainers.conftest import TASK, countdown_reward
from trl import DPOConfig, DPOTrainer, GRPOTrainer, RLOOConfig, RLOOTrainer, SFTConfig, SFTTrainer

from forkpoint.papers import of_run
from forkpoint.policies import folder
from forkpoint.record import open_run
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers.trl import watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
PROBLEMS = [problem for problem, _ in zip(TASK.problems("train"), range(16), strict=False)]
COMMON = dict(
    max_steps=3, per_device_train_batch_size=8, logging_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False,
    save_strategy="no", report_to=[], disable_tqdm=True, learning_rate=1e-3, gradient_accumulation_steps=2,
)  # fmt: skip


def sft(scratch):
    rows = {"text": [f"{problem.prompt} {TASK.solution(problem)}" for problem in PROBLEMS]}
    args = SFTConfig(output_dir=str(scratch), max_length=64, **COMMON)
    return SFTTrainer(folder("tiny"), args=args, train_dataset=Dataset.from_dict(rows))


def rloo(scratch):
    rows = {"prompt": [problem.prompt for problem in PROBLEMS]}
    args = RLOOConfig(output_dir=str(scratch), num_generations=4, max_completion_length=40, beta=0.0, **COMMON)
    return RLOOTrainer(folder("tiny"), reward_funcs=countdown_reward, args=args, train_dataset=Dataset.from_dict(rows))


def trained(make, scratch, out=None):
    torch.manual_seed(0)
    trainer = make(scratch)
    if out is not None:
        watch(trainer, out=out)
    trainer.train()
    return trainer


@pytest.mark.parametrize("make", [sft, rloo])
def test_another_trainer_is_watched_and_not_changed(tmp_path, make):
    bare, watched = trained(make, tmp_path / "a"), trained(make, tmp_path / "b", tmp_path / "run")
    weights = watched.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in bare.model.state_dict().items())
    rows = open_run(tmp_path / "run").metrics("train")
    host = [log for log in watched.state.log_history if "grad_norm" in log]
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row, log in zip(rows, host, strict=True):
        # theirs is a mean over micro-batches, ours one over tokens
        assert row["entropy/full"] == pytest.approx(log["entropy"], rel=0.1)
        assert row["loss"] == pytest.approx(log["loss"], abs=1e-6)
        for key in ("covariance/logp_advantage", "entropy/sampled"):
            assert (key in row) == (make is rloo), "of a given text it would be its cross-entropy"


def test_a_stock_rloo_run_is_cited_as_such(tmp_path):
    trained(rloo, tmp_path / "a", tmp_path / "run")
    papers, unknown = of_run(open_run(tmp_path / "run").header["method"], "")
    assert "ahmadian2024back" in [paper.key for paper in papers] and not unknown


def test_where_losses_are_means_of_micro_batches_their_mean_is_the_steps(tmp_path):
    """DPO's do not add up to the step's, as GRPO's do."""
    rows = {"prompt": [problem.prompt for problem in PROBLEMS], "rejected": [" no"] * len(PROBLEMS)}
    rows["chosen"] = [f" {TASK.solution(problem)}" for problem in PROBLEMS]
    args = DPOConfig(output_dir=str(tmp_path / "host"), **COMMON)
    trainer = DPOTrainer(folder("tiny"), args=args, train_dataset=Dataset.from_dict(rows))
    watch(trainer, out=tmp_path / "run").train()
    host = [log["loss"] for log in trainer.state.log_history if "grad_norm" in log]
    assert host[0] == pytest.approx(0.6931, abs=1e-3)
    assert [row["loss"] for row in open_run(tmp_path / "run").metrics("train")] == pytest.approx(host, abs=1e-6)


def test_what_is_no_trainer_is_refused(tmp_path):
    with pytest.raises(HostError, match="no trainer of TRL"):
        watch(object(), out=tmp_path)
    assert GRPOTrainer.compute_loss
