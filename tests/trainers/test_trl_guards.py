"""Guards and alarms in the real trainer: each fault is made on purpose, seen, told, and able to stop the run."""

import logging
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.trainers.conftest import TASK, countdown_reward, same
from trl import GRPOTrainer

from forkpoint import alarms
from forkpoint.cli import main
from forkpoint.credit.clip_covariance import clip_covariance
from forkpoint.credit.kl_covariance import kl_covariance
from forkpoint.methods import Method, method
from forkpoint.objectives.clip import clip
from forkpoint.objectives.marked_kl import marked_kl
from forkpoint.record.read import open_run
from forkpoint.trainers.trl import manage, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


# kl_cov and clip_cov, silent about what they need: the trainer cannot refuse them before the run


@method
def silent_kl_cov(*, share: float = 0.05) -> Method:
    return Method((kl_covariance(share=share),), marked_kl(coef=1.0), intervenes=True)


@method
def no_band() -> Method:
    return Method((clip_covariance(low=1e6, high=1e7),), clip(), intervenes=True)


def constant(prompts, completions, **columns):
    return [0.5] * len(prompts)


@pytest.fixture
def run(train, tmp_path):
    """``run(cls, reward=..., watch options, config settings)`` -> (train rows, opened run, trainer)."""

    def go(cls=GRPOTrainer, *, reward=countdown_reward, task=TASK, on_alarm="log", **settings):
        def prepare(trainer):
            trainer.reward_funcs = [reward]
            watch(trainer, out=tmp_path / "run", task=task, on_alarm=on_alarm)

        _, _, trainer = train(cls, prepare=prepare, **settings)
        opened = open_run(tmp_path / "run")
        return opened.metrics("train"), opened, trainer

    return go


@pytest.fixture
def impatient(monkeypatch):
    """``impatient("inert", 2)``: an alarm that does not wait as long, so that a short run can raise it."""

    def shorten(name, patience):
        monkeypatch.setitem(alarms.CONDITIONS, name, replace(alarms.CONDITIONS[name], patience=patience))

    return shorten


def raised(rows):
    return alarms.recorded(rows)


def of(key, rows):
    return [row[key] for row in rows if key in row]


# ---- inert


def test_a_method_that_does_nothing_on_policy_is_seen_and_told(run, impatient, caplog):
    impatient("inert", 3)
    with caplog.at_level(logging.WARNING, "forkpoint"):
        rows, opened, _ = run(manage(GRPOTrainer, method=silent_kl_cov()), num_iterations=1, max_steps=4)
    assert of("guard/changed_share", rows) == [0.0] * 4
    assert all(share > 0 for share in of("control/marked_share", rows)), "it marks tokens, and still does nothing"
    assert of("guard/empty_selection", rows) == [0.0] * 4
    assert raised(rows) == [(3, "inert")]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "forkpoint"]
    assert (
        line.startswith("forkpoint: warning: inert at steps 1 to 3: the method changed no token") and "\n" not in line
    )
    assert opened.header["definitions"]["alarm/inert"]["unit"] == "1 or absent"
    assert opened.status["state"] == "done"


def test_off_policy_the_same_method_changes_what_it_marks(run):
    """The negative control: with a second update per rollout ratios differ, and marked tokens feel the penalty."""
    rows, _, _ = run(manage(GRPOTrainer, method=silent_kl_cov()), max_steps=4)
    changed, marked = of("guard/changed_share", rows), of("control/marked_share", rows)
    assert changed[1] == pytest.approx(marked[1], rel=0.02) and changed[3] > 0
    assert raised(rows) == []


def test_an_unmanaged_run_has_no_column_about_a_method(run):
    rows, _, _ = run(max_steps=2)
    assert not of("guard/changed_share", rows) and not of("guard/empty_selection", rows)
    assert of("guard/nonfinite", rows) == [0.0, 0.0]
    assert len(of("guard/dead_group_share", rows)) == 1, "one rollout serves two updates"


def test_an_empty_selection_is_of_the_whole_step(run, impatient):
    impatient("empty_selection", 2)
    cut = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
    rows, _, _ = run(manage(GRPOTrainer, method=no_band()), max_steps=2, **cut)
    assert of("guard/empty_selection", rows) == [1.0, 1.0]
    assert (2, "empty_selection") in raised(rows)


def test_one_micro_batch_that_selects_makes_the_step_not_empty(run):
    """The negative control: of four pieces some hold no marked token, and the step is not called empty."""
    cut = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
    rows, _, _ = run(manage(GRPOTrainer, method=silent_kl_cov(share=1e-9)), max_steps=1, **cut)
    assert 0 < of("control/marked_share", rows)[0] < 0.005, "one token of the step"
    assert of("guard/empty_selection", rows) == [0.0]


# ---- groups


def test_a_constant_reward_makes_every_group_dead(run, impatient):
    impatient("dead_groups", 2)

    rows, _, _ = run(reward=constant, max_steps=4)
    assert of("guard/dead_group_share", rows) == [1.0, 1.0]
    assert (of("guard/reward_low", rows)[0], of("guard/reward_high", rows)[0]) == (0.5, 0.5)
    assert raised(rows) == [(3, "dead_groups")], "the second rollout is that of step 3"


def test_live_groups_are_counted_by_hand(run):
    seen = []

    def noting(prompts, completions, **columns):
        seen.append(countdown_reward(prompts, completions))
        return seen[-1]

    rows, _, _ = run(reward=noting, max_steps=4)
    by_hand = [sum(len(set(r[i : i + 8])) == 1 for i in range(0, 32, 8)) / 4 for r in seen]
    assert of("guard/dead_group_share", rows) == by_hand
    assert of("guard/duplicate_group_share", rows) == [0.0, 0.0]


def test_groups_without_a_verdict_are_dead(run):
    def unsure(prompts, completions, **columns):
        return [None] * 8 + [1.0, None] * 4 + [0.0, 1.0] * 8

    rows, _, _ = run(reward=unsure, max_steps=1, task=None)
    assert of("guard/dead_group_share", rows) == [0.5]
    assert of("guard/no_verdict_share", rows) == [12 / 32], "without a task, a missing reward is a missing verdict"


def test_a_temperature_near_zero_makes_duplicates(run, impatient):
    impatient("duplicate_groups", 1)
    rows, _, _ = run(temperature=1e-4, max_steps=1)
    assert of("guard/duplicate_group_share", rows)[0] > 0.5
    assert (1, "duplicate_groups") in raised(rows)


# ---- rewards and numbers


def seven(prompts, completions, **columns):
    return [7.0, *countdown_reward(prompts, completions)[1:]]


seven.reward_range = (0.0, 1.0)


def test_a_reward_of_seven_is_an_alarm_at_once_where_the_range_is_known(run):
    rows, _, _ = run(reward=seven, max_steps=1)
    assert of("guard/reward_outside", rows) == [1 / 32]
    assert of("guard/reward_high", rows) == [7.0]
    assert raised(rows) == [(1, "reward_outside")]


def test_where_no_range_is_declared_the_column_is_absent(run):
    rows, _, _ = run(reward=lambda prompts, completions, **columns: [7.0, 0.0] * 16, max_steps=1)
    assert not of("guard/reward_outside", rows) and of("guard/reward_high", rows) == [7.0]
    assert raised(rows) == []


def test_an_infinite_reward_is_counted_although_the_host_hides_it(run):
    """TRL turns the advantages it spoils into zeros."""

    def infinite(prompts, completions, **columns):
        return [math.inf, *countdown_reward(prompts, completions)[1:]]

    rows, _, _ = run(reward=infinite, max_steps=1)
    assert of("guard/nonfinite", rows)[0] > 0
    assert (1, "nonfinite") in raised(rows)


class Broken(GRPOTrainer):
    """Its second loss is nan."""

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        return loss * float("nan") if self.state.global_step == 1 else loss


def test_a_nan_loss_and_gradient_are_alarms_at_their_step(run):
    rows, _, _ = run(Broken, max_steps=2)
    names = [name for step, name in raised(rows) if step == 2]
    assert {"loss_nonfinite", "grad_norm_nonfinite"} <= set(names)
    assert not [name for step, name in raised(rows) if step == 1]
    assert math.isnan(rows[1]["loss"])


# ---- what an alarm does


def test_stop_stops_at_that_step_saves_and_closes_as_stopped(run, impatient):
    impatient("dead_groups", 1)
    rows, opened, trainer = run(reward=constant, on_alarm="stop", max_steps=6)
    assert [row["step"] for row in rows] == [1]
    assert opened.status["state"] == "stopped"
    assert trainer.state.global_step == 1
    assert [path.name for path in _checkpoints(trainer)] == ["checkpoint-1"]


def test_after_an_error_nothing_is_saved_over_what_was_good(run):
    rows, opened, trainer = run(Broken, on_alarm="stop", max_steps=6)
    assert [row["step"] for row in rows] == [1, 2]
    assert opened.status["state"] == "stopped"
    assert _checkpoints(trainer) == []


def test_checkpoints_after_an_error_do_not_push_out_the_last_one_before_it(run):
    saving = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    _, _, trainer = run(Broken, max_steps=4, num_iterations=4, **saving)  # one rollout: nan weights cannot sample
    assert [path.name for path in _checkpoints(trainer)] == ["checkpoint-1", "checkpoint-4"]


def test_checkpoint_saves_at_that_step_and_goes_on(run, impatient):
    impatient("dead_groups", 1)
    rows, opened, trainer = run(reward=constant, on_alarm="checkpoint", max_steps=2)
    assert raised(rows) == [(1, "dead_groups")]
    assert [row["step"] for row in rows] == [1, 2] and opened.status["state"] == "done"
    assert [path.name for path in _checkpoints(trainer)] == ["checkpoint-1"]


def test_log_saves_nothing_and_goes_on(run):
    rows, opened, trainer = run(reward=seven, on_alarm="log", max_steps=2)
    assert len(rows) == 2 and raised(rows) and opened.status["state"] == "done"
    assert _checkpoints(trainer) == []


def test_alarms_change_no_bit_of_a_run_that_goes_on(train, tmp_path, impatient):
    for name in alarms.CONDITIONS:
        impatient(name, 1)
    cls = manage(GRPOTrainer, method=silent_kl_cov())
    bare = train(cls)
    watched = train(cls, prepare=lambda trainer: watch(trainer, out=tmp_path / "a", task=TASK))
    assert same(bare, watched)
    assert raised(open_run(tmp_path / "a").metrics("train")), "an alarm must have been raised for this to mean anything"


def test_the_guards_do_not_depend_on_the_micro_batches(train, tmp_path):
    tables = []
    for size, pieces in ((32, 1), (8, 4)):
        out, cut = tmp_path / str(size), {"per_device_train_batch_size": size, "gradient_accumulation_steps": pieces}
        train(
            manage(GRPOTrainer, method=silent_kl_cov()), max_steps=2,
            prepare=lambda t, out=out: watch(t, out=out, task=TASK), **cut,
        )  # fmt: skip
        tables.append(open_run(out).metrics("train"))
    for one, other in zip(*tables, strict=True):
        guards = [key for key in one if key.startswith("guard/")]
        assert len(guards) >= 6
        assert {key: other[key] for key in guards} == pytest.approx({key: one[key] for key in guards}, abs=1e-9)


def _checkpoints(trainer):
    return sorted(Path(trainer.args.output_dir).glob("checkpoint-*"))


# ---- several processes

TWO = """
import os
from dataclasses import replace
from itertools import islice
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from forkpoint import alarms
from forkpoint.policies import folder
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers.trl import watch

torch.set_num_threads(1)
at_once = replace(alarms.CONDITIONS["dead_groups"], limit=0.6, patience=1)
alarms.CONDITIONS["dead_groups"] = at_once
trainer = GRPOTrainer(
    model=folder("tiny"),
    reward_funcs=lambda prompts, **columns: [float(os.environ["RANK"])] * len(prompts),
    args=GRPOConfig(
        output_dir="host", max_steps=3, per_device_train_batch_size=12, num_generations=8, max_completion_length=24,
        logging_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", report_to=[],
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"prompt": [p.prompt for p in islice(countdown().problems("train"), 16)]}),
)
watch(trainer, out="run", on_alarm="stop")
trainer.train()
trainer.accelerator.end_training()
"""


def test_a_group_that_two_processes_share_is_one_group_and_both_stop(tmp_path, on_two_processes):
    """Each process rewards all its rows alike, so only the group across both is alive: 2 of 3 are dead, not all."""
    done = on_two_processes(TWO)
    opened = open_run(tmp_path / "run")
    assert of("guard/dead_group_share", opened.metrics("train")) == [pytest.approx(2 / 3)]
    assert raised(opened.metrics("train")) == [(1, "dead_groups")] and opened.status["state"] == "stopped"
    assert done.stderr.count("forkpoint: warning: dead_groups at step 1") == 1, "told once, not once per process"


# ---- the command line

SMALL = ["--steps", "2", "--prompts-per-step", "2", "--eval-problems", "2", "--eval-samples", "2", "--threads", "1"]


def test_a_gate_on_training_ends_with_three_and_leaves_the_run_done(tmp_path, capsys):
    out = str(tmp_path / "run")
    code = main(["train", *SMALL, "--out", out, "--fail-if", "entropy/full<9 for 2", "--fail-if", "alarm/nonfinite>0"])
    told = capsys.readouterr()
    assert (code, told.out.splitlines()[-1]) == (3, out)
    (line,) = [line for line in told.err.splitlines() if line.startswith("forkpoint: ")]
    assert line.startswith("forkpoint: gate failed: entropy/full<9 for 2: entropy/full is 0.")
    assert open_run(out).status["state"] == "done"


def test_a_misspelt_gate_costs_no_run(tmp_path, capsys):
    assert main(["train", *SMALL, "--out", str(tmp_path / "run"), "--fail-if", "entropy"]) == 2
    assert "is not KEY<NUMBER" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_an_alarm_that_stops_a_training_ends_with_three(tmp_path, capsys, monkeypatch):
    now = replace(alarms.CONDITIONS["entropy_low"], limit=9.0, patience=1)
    monkeypatch.setitem(alarms.CONDITIONS, "entropy_low", now)
    out = str(tmp_path / "run")
    assert main(["train", *SMALL, "--out", out, "--on-alarm", "stop"]) == 3
    assert open_run(out).status["state"] == "stopped"
    assert [row["step"] for row in open_run(out).metrics("train")] == [1]
    monkeypatch.setitem(alarms.CONDITIONS, "entropy_low", replace(now, limit=0.0))
    assert main(["train", *SMALL, "--out", str(tmp_path / "calm"), "--on-alarm", "stop"]) == 0


def test_a_run_that_an_alarm_stopped_can_be_resumed_to_its_end(tmp_path, capsys, monkeypatch):
    """The alarm of step 2 is remembered: it stops the run once, and is not raised anew while it still holds."""
    at_two = replace(alarms.CONDITIONS["entropy_low"], limit=9.0, patience=2)
    monkeypatch.setitem(alarms.CONDITIONS, "entropy_low", at_two)
    train_to_four = ["train", *SMALL, "--steps", "4", "--out", str(tmp_path / "run"), "--on-alarm", "stop"]
    assert main(train_to_four) == 3
    assert main([*train_to_four, "--resume"]) == 0, capsys.readouterr().err
    opened = open_run(tmp_path / "run")
    assert opened.status["state"] == "done"
    assert [row["step"] for row in opened.metrics("train")] == [1, 2, 3, 4]
    assert raised(opened.metrics("train")) == [(2, "entropy_low")]


def test_a_resumed_run_counts_on_where_the_broken_one_stood(tmp_path, capsys, monkeypatch):
    """Cut off at step 2 of a patience of 3: the alarm comes at step 3, as it did in the record that is replayed."""
    at_three = replace(alarms.CONDITIONS["entropy_low"], limit=9.0, patience=3)
    monkeypatch.setitem(alarms.CONDITIONS, "entropy_low", at_three)
    train_to_four = ["train", *SMALL, "--steps", "4", "--out", str(tmp_path / "run"), "--save-every", "1"]
    assert main([*train_to_four, "--keep-checkpoints", "9"]) == 0
    for later in (3, 4):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / f"checkpoint-{later}")
    assert main([*train_to_four, "--keep-checkpoints", "9", "--resume"]) == 0, capsys.readouterr().err
    opened = open_run(tmp_path / "run")
    assert raised(opened.metrics("train")) == [(3, "entropy_low")]
    assert [row["step"] for row in opened.metrics("train")] == [1, 2, 3, 4]


def test_an_unknown_reaction_is_refused_with_the_choices(tmp_path, capsys):
    assert main(["train", *SMALL, "--out", str(tmp_path / "run"), "--on-alarm", "panic"]) == 2
    assert "stop" in capsys.readouterr().err
