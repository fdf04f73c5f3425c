"""Controllers in a real run: knobs move as the law says, survive a resume, and agree over processes."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from tests.trainers.conftest import TASK, same
from transformers import TemperatureLogitsWarper

from forkpoint.batch import StepBatch
from forkpoint.controllers import Loop
from forkpoint.controllers.pi import pi
from forkpoint.methods import Method, build, method
from forkpoint.objectives.clip import clip
from forkpoint.record import open_run
from forkpoint.trainers._trl_control import FILE, Control
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers._trl_shift import Warp, drawn
from forkpoint.trainers.trl import manage, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
SKYWORK = {"target": 0.25, "delta": 0.01}
RISING = {"target": 9.0, "delta": 0.01}
"""a coefficient that grows by 0.01 at every step"""
QUICK = {"num_iterations": 1, "max_steps": 4}


@pytest.fixture
def managed():
    """``managed(method, **settings)`` -> the class of a managed trainer."""
    from trl import GRPOTrainer

    return lambda name, **settings: manage(GRPOTrainer, method=name, **settings)


def replayed(built, rows):
    """The knobs of each step as the law gives them from the record's own readings, the method's settings first."""
    loop = Loop(built.controllers)
    used = []
    for row in rows:
        used.append({knob: loop.knobs.get(knob, built.settings[knob]) for knob in loop.turned})
        loop.take({key: row[key] for key in loop.reads} | {"step": float(row["step"])})
    return used


def test_the_recorded_coefficient_is_what_the_law_makes_of_the_recorded_entropy(managed, train, tmp_path):
    _, _, trainer = train(
        managed("skywork", **SKYWORK),
        prepare=lambda t: watch(t, out=tmp_path / "run", task=TASK),
        logging_steps=3,  # the host logs an average over steps; the record has each step's own
    )
    run = open_run(tmp_path / "run")
    rows = run.metrics("train")
    used = [row["control/coef"] for row in rows]
    assert used == [knobs["coef"] for knobs in replayed(build("skywork", **SKYWORK), rows)]
    assert used[0] == 0 and len({*used}) > 1, "and it moves"
    assert all(row["control/target/entropy/sampled"] == 0.25 for row in rows)
    assert run.header["definitions"]["control/coef"]["estimator"] == "setting coef of skywork"
    assert trainer.forkpoint_control.method.settings["coef"] == trainer.forkpoint_control.loop.knobs["coef"]


def test_both_thermostats_turn_their_own_knob(managed, train, tmp_path):
    settings = {"target_fork": 1.5, "target_execution": 1e-3, "gain": 0.5}
    watched = {"prepare": lambda t: watch(t, out=tmp_path / "run", task=TASK)}
    train(managed("fork_thermostat", labels=TASK, **settings), **watched, **QUICK)
    rows = open_run(tmp_path / "run").metrics("train")
    expected = replayed(build("fork_thermostat", **settings), rows)
    assert [(row["control/tilt_fork"], row["control/tilt_execution"]) for row in rows] == [
        (knobs["tilt_fork"], knobs["tilt_execution"]) for knobs in expected
    ]
    assert rows[-1]["control/tilt_fork"] > 0 > rows[-1]["control/tilt_execution"]


def test_without_gain_a_thermostat_is_grpo_bit_for_bit(managed, train):
    plain = train(managed("grpo"))
    held = train(managed("fork_thermostat", labels=TASK, gain=0.0, integral_gain=0.0))
    assert same(plain, held)
    assert not same(plain, train(managed("fork_thermostat", labels=TASK, tilt_fork=1.0, gain=0.0, integral_gain=0.0)))


def test_watching_does_not_change_a_controlled_run(managed, train, tmp_path):
    alone = train(managed("skywork", **SKYWORK), **QUICK)
    assert same(alone, train(managed("skywork", **SKYWORK), prepare=lambda t: watch(t, out=tmp_path / "run"), **QUICK))


def test_an_unwatched_run_resumes_bit_for_bit(managed, train, tmp_path):
    """On-policy and within the first epoch a trainer's own checkpoint lacks nothing but the controllers' state."""
    saving = {**QUICK, "save_strategy": "steps", "save_steps": 1}
    whole = train(managed("skywork", **RISING), output_dir=str(tmp_path / "whole"), **saving)
    state = whole[2].forkpoint_control.loop.state()
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    kept = json.loads((checkpoint / FILE).read_text())
    assert kept["knobs"] != state["knobs"], "and the state moved on after the checkpoint"

    def resumed(folder):
        def prepare(trainer):
            train_all = trainer.train
            trainer.train = lambda: train_all(resume_from_checkpoint=str(folder))

        return train(managed("skywork", **RISING), prepare=prepare, output_dir=str(tmp_path / "again"), **saving)

    again = resumed(checkpoint)
    assert again[2].forkpoint_control.loop.state() == state
    assert all(torch.equal(again[1][name], whole[1][name]) for name in whole[1])

    forgetful = tmp_path / "forgetful" / "checkpoint-2"
    shutil.copytree(checkpoint, forgetful)
    (forgetful / FILE).unlink()
    with pytest.warns(UserWarning, match="holds no state of controllers, so those of skywork begin anew"):
        other = resumed(forgetful)
    assert not all(torch.equal(other[1][name], whole[1][name]) for name in whole[1]), "the control: it is missed"


def test_a_trainer_that_trains_again_begins_its_control_anew(managed, train):
    _, _, trainer = train(managed("skywork", **RISING), **QUICK)
    assert trainer.forkpoint_control.loop.knobs["coef"] == pytest.approx(0.04)
    trainer.train()
    assert trainer.forkpoint_control.loop.knobs["coef"] == pytest.approx(0.04)


@method
def starved(*, clip_low: float = 0.2) -> Method:
    return Method((), clip(clip_low=clip_low), controllers=(pi("clip_low", "no/such", target=0.5, gain=1.0, low=0.0),))


def test_a_controller_that_nothing_feeds_stops_the_run_at_its_first_step(managed, train):
    with pytest.raises(HostError, match=r"^starved is controlled by no/such, which nothing in this run can measure"):
        train(managed(starved()), **QUICK)


def test_shifted_rows_are_left_out_of_the_readings():
    control = Control(None, build("aepo"))
    logp = torch.zeros(2, 1)
    step = StepBatch(logp, logp, logp == 0, torch.ones(2), entropy=torch.tensor([[0.5], [9.0]]))
    control.see(replace(step, shifted=torch.tensor([False, True])))
    assert control.readings["entropy/full"].value == 0.5


# ---- rows at another temperature


def first_rollout(trainer):
    """Keep what the first rollout of training held."""
    make = trainer._generate_and_score_completions

    def kept(inputs):
        batch = make(inputs)
        if trainer.model.training and not hasattr(trainer, "first"):
            trainer.first = {name: v.clone() for name, v in batch.items() if isinstance(v, torch.Tensor)}
        return batch

    trainer._generate_and_score_completions = kept


def answers(trainer):
    ids, mask = trainer.first["completion_ids"], trainer.first["completion_mask"].bool()
    return [row[chosen].tolist() for row, chosen in zip(ids, mask, strict=True)]


def test_the_shifted_rows_and_only_they_are_sampled_otherwise(managed, train):
    one_step = {"max_steps": 1, "num_iterations": 1, "prepare": first_rollout}
    _, _, plain = train(managed("grpo"), **one_step)
    _, _, hot = train(managed("aepo", temperature=3.0, share=0.5), **one_step)
    _, _, same_heat = train(managed("aepo", temperature=1.0, share=0.5), **one_step)
    shifted = hot.first["forkpoint_shifted"]
    assert shifted.view(-1, 8).float().mean(1).tolist() in (
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [1, 0, 0, 1],
        [0, 1, 1, 0],
        [0, 1, 0, 1],
        [0, 0, 1, 1],
    )
    pairs = list(zip(answers(plain), answers(hot), shifted.tolist(), strict=True))
    assert all(one == other for one, other, moved in pairs if not moved)
    assert sum(one != other for one, other, moved in pairs if moved) > 12, "almost all of the sixteen"
    assert answers(same_heat) == answers(plain), "the host's own temperature shifts nothing"


def test_shifted_rows_earn_by_their_own_reward_and_others_by_their_group(managed, train):
    _, _, trainer = train(managed("aepo", coef=0.5, share=0.5), max_steps=1, num_iterations=1, prepare=first_rollout)
    ids, plan = trainer._buffered_inputs[0]["forkpoint_row_id"], trainer.forkpoint_plan
    assert ids.tolist() == trainer._buffered_inputs[0]["forkpoint_row_id"].tolist()
    for i in range(len(ids)):
        part = {name: trainer._buffered_inputs[0][f"forkpoint_{name}"][i] for name in ("shifted", "reward")}
        told = (
            0.5 * float(part["reward"] > 0.5)
            if part["shifted"]
            else float(trainer._buffered_inputs[0]["advantages"][i])
        )
        assert plan.advantage[i].unique().tolist() == pytest.approx([told])


def test_the_temperature_follows_entropy(managed, train, tmp_path):
    watched = {"prepare": lambda t: watch(t, out=tmp_path / "run")}
    train(managed("aepo", target=0.0, share=0.5), **watched, **QUICK)
    rows = open_run(tmp_path / "run").metrics("train")
    assert [row["control/temperature"] for row in rows] == [1.2, 0.8, 0.8, 0.8], "entropy is above 0 at every step"


def test_a_warped_row_has_the_softmax_of_its_temperature():
    scores, host_heat, heat = torch.randn(2, 9), 0.7, torch.tensor([1.2, 0.7])
    warped = Warp(host_heat / heat)(torch.zeros(2, 1, dtype=torch.long), scores)
    found = TemperatureLogitsWarper(host_heat)(None, warped).softmax(-1)
    torch.testing.assert_close(found, (scores / heat.unsqueeze(1)).softmax(-1))
    assert torch.equal(warped[1], scores[1]), "a factor of one changes no bit"


def test_groups_are_drawn_by_their_number_and_no_number_is_favored():
    assert drawn(0.25, 40, 12, 7).tolist() == drawn(0.25, 40, 12, 7).tolist()
    assert all(40 <= group < 52 for group in drawn(0.25, 40, 12, 7))
    places = torch.bincount(
        torch.tensor([g - f for f in range(0, 6000, 12) for g in drawn(0.25, f, 12, 7)]), minlength=12
    )
    assert places.sum() == 1500 and int(places.min()) > 90 and int(places.max()) < 165, "125 each are expected"


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"scale_rewards": "batch"}, 'scale_rewards="batch"'), ({"use_transformers_continuous_batching": True}, "contin")],
)
def test_a_host_that_cannot_shift_rows_is_refused(managed, train, settings, says):
    with pytest.raises(
        HostError, match=f"aepo samples some rows at another temperature, and .*{says}.*; turn that off"
    ):
        train(managed("aepo"), **settings)


def test_a_method_without_shift_leaves_the_model_alone(managed, train):
    _, _, trainer = train(managed("grpo"), max_steps=1)
    assert "generate" not in vars(trainer.model) and "forkpoint_shifted" not in trainer._buffered_inputs[0]


# ---- two processes

SCRIPT = """
import json
from itertools import islice
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from forkpoint.policies import folder
from forkpoint.recipes.train import TaskReward
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers.trl import manage, watch

torch.set_num_threads(1)
task = countdown()
trainer = manage(GRPOTrainer, method="fork_thermostat", labels=task, target_fork=1.5, gain=0.5)(
    model=folder("tiny"),
    reward_funcs=TaskReward(task),
    args=GRPOConfig(
        output_dir="host", max_steps=3, per_device_train_batch_size=16, num_generations=8, num_iterations=2,
        max_completion_length=40, learning_rate=2e-4, logging_steps=1, use_cpu=True, bf16=False,
        gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"prompt": [p.prompt for p in islice(task.problems("train"), 16)]}),
)
watch(trainer, out="run", task=task)
trainer.train()
with open(f"state-{trainer.accelerator.process_index}.json", "w") as file:
    json.dump(trainer.forkpoint_control.loop.state(), file)
trainer.accelerator.end_training()
"""


def test_two_processes_turn_their_knobs_alike(tmp_path, on_two_processes):
    on_two_processes(SCRIPT)
    one, other = ((tmp_path / f"state-{rank}.json").read_text() for rank in (0, 1))
    assert one == other and json.loads(one)["knobs"]["tilt_fork"] > 0
    rows = open_run(tmp_path / "run").metrics("train")
    used = [row["control/tilt_fork"] for row in rows]
    built = build("fork_thermostat", target_fork=1.5, gain=0.5)
    assert used == [knobs["tilt_fork"] for knobs in replayed(built, rows)], "by the readings of both"
