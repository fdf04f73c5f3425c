"""Stop a TRL run in the middle of a rollout, go on with it, and find the end that it would have had.

python examples/06_resume_a_run.py
"""

import shutil
from itertools import islice

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from forkpoint.policies import folder
from forkpoint.recipes.train import TaskReward
from forkpoint.record import open_run
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers.trl import last_complete, manage, watch

task = countdown()


class StopsAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def train(name, *callbacks):
    place = f"runs/example-06/{name}"
    args = GRPOConfig(
        output_dir=place, max_steps=6, per_device_train_batch_size=16, num_generations=8, num_iterations=3,
        max_completion_length=40, learning_rate=2e-4, save_steps=2, logging_steps=1, use_cpu=True, bf16=False,
        gradient_checkpointing=False, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    trainer = manage(GRPOTrainer, method="kl_cov", share=0.02)(
        model=folder("tiny"), reward_funcs=TaskReward(task), args=args, callbacks=list(callbacks),
        train_dataset=Dataset.from_dict({"prompt": [p.prompt for p in islice(task.problems("train"), 64)]}),
    )  # fmt: skip
    watch(trainer, out=f"{place}/record", task=task, resume=True)
    trainer.train(resume_from_checkpoint=last_complete(place, run=f"{place}/record"))
    return trainer.model.state_dict()


shutil.rmtree("runs/example-06", ignore_errors=True)
whole = train("whole")
try:
    train("cut", StopsAt(5))
except KeyboardInterrupt:
    print("stopped at step", open_run("runs/example-06/cut/record").steps)
resumed = train("cut")
print("same weights:", all(torch.equal(whole[name], resumed[name]) for name in whole))
