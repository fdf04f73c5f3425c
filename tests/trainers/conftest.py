"""A small GRPO run on the shipped policy, to be watched and managed in every way and compared."""

import subprocess
import sys
from itertools import islice

import pytest
import torch

from forkpoint.policies import folder
from forkpoint.tasks.countdown import countdown

TASK = countdown()


def countdown_reward(prompts, completions, **columns):
    return [float(TASK.score(TASK.read(p), c).correct) for p, c in zip(prompts, completions, strict=True)]


@pytest.fixture
def train(tmp_path):
    """``train(cls, prepare=..., given=..., **settings)`` -> (losses and gradient norms per step, weights, trainer).

    ``given`` are arguments of the trainer in place of the shipped policy, reward and prompts.
    """
    from datasets import Dataset
    from trl import GRPOConfig

    def run(cls, *, prepare=lambda trainer: trainer, given=None, **settings):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        prompts = [p.prompt for p in islice(TASK.problems("train"), 64)]
        defaults = dict(
            output_dir=str(tmp_path / "host"), max_steps=6, per_device_train_batch_size=32, num_generations=8,
            num_iterations=2, max_completion_length=40, learning_rate=5e-4, logging_steps=1, use_cpu=True, bf16=False,
            gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True, beta=0.0,
        )  # fmt: skip
        usual = dict(
            model=folder("tiny"), reward_funcs=countdown_reward, train_dataset=Dataset.from_dict({"prompt": prompts})
        )
        trainer = cls(args=GRPOConfig(**(defaults | settings)), **(usual | (given or {})))
        prepare(trainer)
        trainer.train()
        steps = [(log["loss"], log["grad_norm"]) for log in trainer.state.log_history if "grad_norm" in log]
        weights = {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
        return steps, weights, trainer

    return run


def same(one, other):
    """Bit for bit: losses and gradient norms of every step, and every weight at the end."""
    return one[0] == other[0] and all(torch.equal(one[1][name], other[1][name]) for name in one[1])


# A process that is done ends at once: gloo's threads can abort one whose interpreter is going down while the model
# still holds the group (pytorch/pytorch#179291, seen once). An exception ends it before this.
DONE = """
import os, sys
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
"""


@pytest.fixture
def on_two_processes(tmp_path):
    """Runs a script on two processes of this machine, in ``tmp_path``; fails with what it said where it failed."""

    def run(script):
        (tmp_path / "two.py").write_text(script + DONE)
        # standalone: a port of its own, so that two test files may do this at once
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "two.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    return run
