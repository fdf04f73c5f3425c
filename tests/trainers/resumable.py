"""A small run that can be killed, resumed and compared: used by the resume tests and by the kill campaign."""

import hashlib
import json
import random
from itertools import islice

import numpy as np
import torch
from tests.trainers.conftest import TASK, countdown_reward

from forkpoint.policies import folder
from forkpoint.record import open_run
from forkpoint.trainers.trl import Evaluation, manage, watch

STEPS = 6
TIMED = ("time", "step_time")
CONFIGS = {
    "two updates per rollout": {"num_iterations": 2},
    "two processes, two updates": {"num_iterations": 2, "per_device_train_batch_size": 8, "processes": 2},
    "a rollout over two steps": {"steps_per_generation": 2},
    "steps cut in two, rollouts of four, three updates": {
        "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "steps_per_generation": 4,
        "num_iterations": 3,
    },
    "beyond the first epoch, shuffled": {"steps_per_generation": 2, "prompts": 8, "shuffle_dataset": True},
    "logs every three steps, saves every two": {"num_iterations": 2, "logging_steps": 3, "save_steps": 2},
    "keeps one checkpoint": {"num_iterations": 2, "save_total_limit": 1, "method": "clip_cov"},
    "stock trainer": {"num_iterations": 2, "method": None},
    "two controllers, two updates": {"num_iterations": 2, "method": "fork_thermostat"},
    "shifted groups, a rollout over two steps": {"steps_per_generation": 2, "method": "aepo"},
    "two processes, beyond the first epoch": {
        "steps_per_generation": 2, "per_device_train_batch_size": 8, "prompts": 8, "shuffle_dataset": True,
        "processes": 2,
    },
}  # fmt: skip
METHODS = {
    "kl_cov": {"share": 0.05},
    "clip_cov": {"share": 0.05, "low": 0.05, "high": 50.0},
    "fork_thermostat": {"labels": TASK, "target_fork": 0.9, "target_execution": 0.05, "gain": 2.0},
    "aepo": {"target": 0.25, "share": 0.5},
}


def make(out, *, method="kl_cov", prompts=24, processes=1, resume=False, config=None, text=True, **settings):
    """A watched trainer whose run lies in ``out/run`` and its checkpoints in ``out/host``."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    torch.manual_seed(0)
    torch.set_num_threads(1)
    defaults = dict(
        output_dir=str(out / "host"), max_steps=STEPS, per_device_train_batch_size=16, num_generations=8,
        max_completion_length=40, learning_rate=1e-3, logging_steps=1, use_cpu=True, bf16=False, save_steps=1,
        gradient_checkpointing=False, save_strategy="steps", report_to=[], disable_tqdm=True, beta=0.0, seed=5,
    )  # fmt: skip
    trainer = (manage(GRPOTrainer, method=method, **METHODS[method]) if method else GRPOTrainer)(
        model=folder("tiny"),
        reward_funcs=countdown_reward,
        args=GRPOConfig(**(defaults | settings)),
        train_dataset=Dataset.from_dict({"prompt": [p.prompt for p in islice(TASK.problems("train"), prompts)]}),
    )
    evaluation = Evaluation(problems=2, samples=2, every=2, max_tokens=40)
    about = {"resume": resume, "config": config or {"seed": 5}, "record_text": text}
    return watch(trainer, out=out / "run", task=TASK, evaluation=evaluation, **about)


def end_of(trainer):
    """sha256 of all that must be equal in the end, by name."""
    moments = [group for group in trainer.optimizer.state.values()]
    ends = {
        "weights": [(name, value.numpy().tobytes()) for name, value in trainer.model.state_dict().items()],
        "optimizer": [(n, v.numpy().tobytes()) for group in moments for n, v in group.items() if torch.is_tensor(v)],
        "scheduler": sorted(trainer.lr_scheduler.state_dict().items()),
        "python random": random.getstate(),
        "numpy random": (np.random.get_state()[1].tobytes(), np.random.get_state()[2:]),
        "torch random": torch.get_rng_state().numpy().tobytes(),
    }
    return {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in ends.items()}


def record_of(out):
    """What a reader sees of the run, fields that measure time aside."""
    run = open_run(out / "run")
    rows = [{key: value for key, value in row.items() if key not in TIMED} for row in run.metrics()]
    seen = {"metrics": rows, "rollouts": run.rollouts(), "state": run.status["state"], "header": run.header["config"]}
    return json.dumps(seen, sort_keys=True, default=repr)
