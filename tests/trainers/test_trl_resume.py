"""A run that resumes at any step ends as the unbroken one, bit for bit: weights, optimizer, random states, record."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.trainers.kills import BREAKAGES
from tests.trainers.resumable import CONFIGS, STEPS, end_of, make, record_of

from forkpoint.record import RecordError, checkpoints, open_run
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers.trl import last_complete

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
ALONE = {name: settings for name, settings in CONFIGS.items() if "processes" not in settings}


def end(trainer):
    """As ``end_of``, but for Python's random state, from which the run-time checks of types under pytest draw."""
    return {part: digest for part, digest in end_of(trainer).items() if part != "python random"}


@pytest.fixture(scope="module", params=ALONE)
def whole(request, tmp_path_factory):
    """(settings, folder, end, record) of a run that nothing interrupted, with a checkpoint at every step."""
    place, settings = tmp_path_factory.mktemp("whole"), ALONE[request.param] | {"save_steps": 1}
    settings.pop("save_total_limit", None)
    trainer = make(place, **settings)
    trainer.train()
    return settings, place, end(trainer), record_of(place)


def as_if_killed_after(step, whole, tmp_path):
    """A copy of the run's folder in which no checkpoint is later than ``step``; its record is already ahead."""
    _, place, _, _ = whole
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    for later in range(step + 1, STEPS + 1):
        shutil.rmtree(tmp_path / "host" / f"checkpoint-{later}")


def test_a_run_resumed_at_any_step_ends_as_the_unbroken_one(whole, tmp_path):
    settings, _, ended, record = whole
    for step in range(1, STEPS):
        as_if_killed_after(step, whole, tmp_path / str(step))
        trainer = make(tmp_path / str(step), **settings)
        trainer.train(resume_from_checkpoint=True)
        assert end(trainer) == ended, f"resumed at step {step}"
        assert record_of(tmp_path / str(step)) == record


def test_every_step_moves_the_weights(whole):
    """The control of the test above: where nothing is learned, every resume looks exact."""
    from safetensors.torch import load_file

    _, place, _, _ = whole
    saved = [load_file(place / "host" / f"checkpoint-{step}" / "model.safetensors") for step in range(1, STEPS + 1)]
    for one, other in itertools.pairwise(saved):
        assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run's folder after its fourth step of six, stopped there, with a checkpoint at every step."""
    place = tmp_path_factory.mktemp("saved")
    make(place, num_iterations=2).train()
    for later in (5, 6):
        shutil.rmtree(place / "host" / f"checkpoint-{later}")
    return place


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_checkpoint_that_was_cut_off_or_damaged_is_named_and_passed_over(copy):
    (copy / "host" / "checkpoint-4" / "forkpoint" / "complete.json").unlink()
    weights = copy / "host" / "checkpoint-3" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning) as told:
        assert Path(last_complete(copy / "host")).name == "checkpoint-2"
    assert ["checkpoint-4: is not complete" in str(w.message) for w in told] == [True, False]
    assert "checkpoint-3/model.safetensors: differs from" in str(told[1].message)


def test_a_damaged_checkpoint_that_was_asked_for_is_refused(copy):
    state = copy / "host" / "checkpoint-4" / "forkpoint" / "rank-0.json"
    state.write_bytes(state.read_bytes().replace(b'"_step": 4', b'"_step": 5'))
    with pytest.raises(RecordError, match=r"rank-0\.json: differs from forkpoint/complete\.json; resume from"):
        make(copy, num_iterations=2).train(resume_from_checkpoint=str(copy / "host" / "checkpoint-4"))


def test_where_there_is_none_resuming_says_so(tmp_path):
    assert last_complete(tmp_path / "host") is None
    with pytest.raises(ValueError, match="host: holds no complete checkpoint; start without resuming"):
        make(tmp_path, num_iterations=2).train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"num_iterations": 3}, "num_iterations is 3 and the checkpoint was saved with 2; resume with 2"),
        ({"num_iterations": 2, "per_device_train_batch_size": 8}, "per_device_train_batch_size is 8"),
    ],
)
def test_a_run_that_cuts_its_steps_otherwise_cannot_go_on(copy, settings, says):
    with pytest.raises(HostError, match=says):
        make(copy, **settings).train(resume_from_checkpoint=True)


def test_another_config_than_the_recorded_one_is_refused(copy):
    with pytest.raises(RecordError, match="seed"):
        make(copy, num_iterations=2, config={"seed": 6}).train(resume_from_checkpoint=True)


def test_a_checkpoint_of_an_unwatched_run_is_said_to_be_inexact(copy):
    shutil.rmtree(copy / "host" / "checkpoint-4" / "forkpoint")
    with pytest.warns(UserWarning, match="saved by an unwatched run"):
        make(copy, num_iterations=2).train(resume_from_checkpoint=str(copy / "host" / "checkpoint-4"))


def test_resuming_a_finished_run_makes_no_step_more(copy):
    trainer = make(copy, num_iterations=2, max_steps=4)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 4
    assert open_run(copy / "run").status["state"] == "done"


def test_without_a_checkpoint_a_run_begins_again_and_its_record_is_compared(copy):
    trainer = make(copy, num_iterations=2, resume=True)
    before = record_of(copy)
    trainer.train()
    assert record_of(copy) == before


def test_the_old_checkpoint_goes_only_after_the_new_one_is_committed(tmp_path, monkeypatch):
    committed = checkpoints.commit

    def commit(folder, **about):
        seen.append(sorted(file.name for file in Path(folder).parent.glob("checkpoint-*")))
        committed(folder, **about)

    seen: list[list[str]] = []
    monkeypatch.setattr(checkpoints, "commit", commit)
    make(tmp_path, num_iterations=2, save_total_limit=1, max_steps=3).train()
    assert seen[1:] == [["checkpoint-1", "checkpoint-2"], ["checkpoint-2", "checkpoint-3"]]
    assert [folder.name for folder in (tmp_path / "host").glob("checkpoint-*")] == ["checkpoint-3"]


def test_what_the_record_shall_not_hold_a_checkpoint_does_not_hold_either(tmp_path):
    """Half of the rollout still waits for its first update when this checkpoint is saved."""
    for text in (True, False):
        make(tmp_path / str(text), steps_per_generation=2, max_steps=1, text=text).train()
    held = [(tmp_path / str(text) / "host/checkpoint-1/forkpoint/rank-0.json").read_text() for text in (True, False)]
    assert ['"prompt":' in state for state in held] == [True, False]


# ---- SIGKILL at any instant; ``make campaign`` makes 200 random kills and 50 targeted ones -------------------------


def kills(tmp_path, *flags):
    """(exit code, what was found) of ``tests.trainers.kills``."""
    command = [sys.executable, "-m", "tests.trainers.kills", "--out", str(tmp_path), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_killed_again_and_again_a_run_ends_as_the_unbroken_one(tmp_path):
    code, found = kills(tmp_path, "--random-kills", "8", "--targeted", "4")
    assert (code, found["faults"]) == (0, [])
    assert found["kills"] >= 12


@pytest.mark.parametrize("broken", BREAKAGES)
def test_what_makes_it_exact_is_missed_when_taken_out(tmp_path, broken):
    """Negative controls: the comparison above can fail, and does."""
    code, found = kills(tmp_path, "--random-kills", "6", "--targeted", "6", "--broken", broken)
    assert code == 1 and found["faults"]
