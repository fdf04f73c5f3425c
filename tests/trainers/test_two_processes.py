"""Two processes on one step: readings are gathered as sums and counts, and one record is written."""

import json

import pytest

from forkpoint.record import open_run

SCRIPT = """
from itertools import islice
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from forkpoint.policies import folder
from forkpoint.recipes.train import TaskReward
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers.trl import Evaluation, manage, watch

torch.set_num_threads(1)
task = countdown()
trainer = manage(GRPOTrainer, method="kl_cov", share=0.05)(
    model=folder("tiny"),
    reward_funcs=TaskReward(task),
    args=GRPOConfig(
        output_dir="host", max_steps=2, per_device_train_batch_size=16, num_generations=8, num_iterations=2,
        max_completion_length=40, learning_rate=2e-4, logging_steps=1, use_cpu=True, bf16=False,
        gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"prompt": [p.prompt for p in islice(task.problems("train"), 16)]}),
)
import json
marked = []
loss = trainer.compute_loss
def noted(model, inputs, **more):
    result = loss(model, inputs, **more)
    plan, rows = trainer.forkpoint_plan, inputs["forkpoint_row_id"].tolist()
    marked.append([[rows[i], j] for i, j in plan.mark.nonzero().tolist()])
    return result
trainer.compute_loss = noted
watch(trainer, out="run", task=task, evaluation=Evaluation(problems=2, samples=2, every=2, max_tokens=40))
trainer.train()
with open(f"marked-{trainer.accelerator.process_index}.json", "w") as file:
    json.dump(marked, file)
trainer.accelerator.end_training()
"""


def test_two_processes_write_one_record_of_the_whole_step(tmp_path, on_two_processes):
    done = on_two_processes(SCRIPT)
    assert "micro-batches" not in done.stderr, "the selection is over the whole step, so nothing is warned of"
    run = open_run(tmp_path / "run")
    rows = run.metrics("train")
    assert [row["step"] for row in rows] == [1, 2]
    assert [row["step"] for row in run.metrics("eval")] == [0, 2]
    for row in rows:
        assert row["entropy/full"] == pytest.approx(row["entropy"], rel=1e-5), "the host gathers too"
    shares = [json.loads((tmp_path / f"marked-{rank}.json").read_text()) for rank in (0, 1)]
    for step, row in enumerate(rows):
        both = [token for rank in shares for token in rank[step]]
        assert len({tuple(token) for token in both}) == len(both)
        assert {token[0] // 16 for token in both} == {0, 1}, "rows of both processes"
        assert len(both) == int(0.05 * round(len(both) / row["control/marked_share"]))
    assert rows[0]["accuracy"] == rows[0]["reward"]
