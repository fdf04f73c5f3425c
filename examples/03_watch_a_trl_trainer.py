"""Watch a stock TRL trainer: one added line, and no number of the training changes.

python examples/03_watch_a_trl_trainer.py
"""

from itertools import islice

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from forkpoint.policies import folder
from forkpoint.record.read import open_run
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers.trl import watch

task = countdown()


def reward(prompts, completions, **columns):
    return [float(task.score(task.read(p), c).correct) for p, c in zip(prompts, completions, strict=True)]


trainer = GRPOTrainer(
    model=folder("tiny"),
    reward_funcs=reward,
    args=GRPOConfig(
        output_dir="runs/example-03",
        max_steps=6,
        per_device_train_batch_size=32,
        num_generations=8,
        num_iterations=2,
        max_completion_length=56,
        learning_rate=2e-4,
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"prompt": [p.prompt for p in islice(task.problems("train"), 64)]}),
)
watch(trainer, out="runs/example-03/watched", task=task, overwrite=True)  # the added line
trainer.train()

steps, entropy = open_run("runs/example-03/watched").column("entropy/full/fork")
for step, nats in zip(steps, entropy, strict=True):
    print(f"step {step}: {nats:.3f} nats at the forks")
