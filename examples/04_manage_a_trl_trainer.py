"""Manage a TRL trainer's entropy: two lines, and everything else stays TRL's.

python examples/04_manage_a_trl_trainer.py
"""

from itertools import islice

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from forkpoint.policies import folder
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers.trl import manage

task = countdown()


def reward(prompts, completions, **columns):
    return [float(task.score(task.read(p), c).correct) for p, c in zip(prompts, completions, strict=True)]


ManagedTrainer = manage(GRPOTrainer, method="kl_cov", share=0.02)  # line one
trainer = ManagedTrainer(  # line two: the class you construct
    model=folder("tiny"),
    reward_funcs=reward,
    args=GRPOConfig(
        output_dir="runs/example-04",
        max_steps=4,
        per_device_train_batch_size=32,
        num_generations=8,
        num_iterations=2,  # with one update per rollout every ratio is 1 and KL-Cov is refused: it would do nothing
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
trainer.train()
print(f"{trainer.forkpoint_method} marked {int(trainer.forkpoint_plan.mark.sum())} tokens in the last step")
