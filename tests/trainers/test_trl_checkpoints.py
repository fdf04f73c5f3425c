"""Which checkpoint a run goes on from, and which are deleted: its own, committed last, and never the one just made."""

import shutil
from pathlib import Path

import pytest
from tests.trainers.resumable import end_of, make, record_of
from transformers import TrainerCallback

from forkpoint.record import RecordError, checkpoints, open_run
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers.trl import last_complete, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
TWO = {"num_iterations": 2}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A finished run with a checkpoint at each of its four steps."""
    place = tmp_path_factory.mktemp("saved")
    make(place, max_steps=4, **TWO).train()
    return place


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return tmp_path


def names(place):
    return sorted(folder.name for folder in (place / "host").glob("checkpoint-*"))


def test_a_run_that_went_back_keeps_what_it_saves_and_goes_on_from_there(copy):
    class Seen(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            kept.append(names(copy))
            newest.append(Path(last_complete(copy / "host")).name)

    kept, newest = [], []
    trainer = make(copy, max_steps=4, save_total_limit=2, **TWO)
    trainer.add_callback(Seen())
    trainer.train(resume_from_checkpoint=str(copy / "host" / "checkpoint-1"))
    assert newest == ["checkpoint-2", "checkpoint-3", "checkpoint-4"]
    assert kept[:2] == [["checkpoint-2", "checkpoint-4"], ["checkpoint-2", "checkpoint-3"]]


def test_the_best_checkpoint_is_spared(copy):
    best = copy / "host" / "checkpoint-1"
    checkpoints.prune(copy / "host", 1, [best])
    assert names(copy) == ["checkpoint-1", "checkpoint-4"]


def test_a_limit_holds_where_only_the_model_is_saved(tmp_path):
    make(tmp_path, max_steps=3, save_total_limit=1, save_only_model=True, **TWO).train()
    assert names(tmp_path) == ["checkpoint-3"]


def test_a_checkpoint_of_another_run_is_passed_over_and_refused_by_name(copy):
    other = copy / "other"
    make(other, max_steps=2, **TWO).train()
    shutil.rmtree(copy / "run")
    shutil.move(other / "run", copy / "run")
    with pytest.warns(UserWarning, match="checkpoint-2: belongs to another run"):
        assert last_complete(copy / "host", run=copy / "run") is None
    with pytest.raises(RecordError, match="checkpoint-2: belongs to another run; resume from an earlier checkpoint"):
        make(copy, max_steps=2, **TWO).train(resume_from_checkpoint=str(copy / "host" / "checkpoint-2"))


def test_a_run_may_begin_at_anothers_checkpoint_and_go_on_from_it(copy):
    first = str(copy / "host" / "checkpoint-2")
    shutil.rmtree(copy / "run")
    make(copy, max_steps=3, **TWO).train(resume_from_checkpoint=first)
    for step in (3, 4):
        shutil.rmtree(copy / "host" / f"checkpoint-{step}")
    make(copy, max_steps=3, **TWO).train(resume_from_checkpoint=True)
    assert [row["step"] for row in open_run(copy / "run").metrics("train")] == [3]


def test_a_checkpoint_past_the_records_end_is_passed_over(copy):
    shutil.copytree(copy / "host" / "checkpoint-4", copy / "host" / "checkpoint-5")
    with pytest.warns(UserWarning, match="checkpoint-5: is past step 4, where the record ends"):
        assert Path(last_complete(copy / "host", run=copy / "run")).name == "checkpoint-4"


def test_a_checkpoint_that_is_not_there_leaves_no_run(tmp_path):
    with pytest.raises(ValueError, match="checkpoint-9: no such checkpoint"):
        make(tmp_path, **TWO).train(resume_from_checkpoint=str(tmp_path / "host" / "checkpoint-9"))
    assert not (tmp_path / "run").exists()


def test_a_trainer_that_broke_off_within_a_step_resumes_as_a_new_one_would(tmp_path):
    """As in a notebook: Ctrl-C, then train again. Nothing of the broken step may count twice."""
    cut = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "max_steps": 4, **TWO}
    whole = make(tmp_path / "whole", **cut)
    whole.train()
    trainer = make(tmp_path / "broken", **cut)
    step, calls = trainer.training_step, []

    def interrupted(*args, **kwargs):
        loss = step(*args, **kwargs)
        calls.append(loss)
        if len(calls) == 5:  # the first of the third step's two micro-batches
            raise KeyboardInterrupt
        return loss

    trainer.training_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.train(resume_from_checkpoint=True)
    assert record_of(tmp_path / "broken") == record_of(tmp_path / "whole")
    assert end_of(trainer)["weights"] == end_of(whole)["weights"]


def test_a_finished_run_resumed_ends_with_its_best_model(copy, monkeypatch):
    trainer = make(copy, max_steps=4, **TWO)
    trainer.args.load_best_model_at_end = True
    loaded = []
    monkeypatch.setattr(trainer, "_load_best_model", lambda: loaded.append(trainer.state.best_model_checkpoint))
    trainer.add_callback(_Best(str(copy / "host" / "checkpoint-1")))
    trainer.train(resume_from_checkpoint=True)
    assert loaded == [str(copy / "host" / "checkpoint-1")] and not trainer.is_in_train


class _Best(TrainerCallback):
    def __init__(self, checkpoint):
        self.checkpoint = checkpoint

    def on_train_begin(self, args, state, control, **kwargs):
        state.best_model_checkpoint = self.checkpoint


def test_a_trainer_is_watched_once(tmp_path):
    trainer = make(tmp_path, **TWO)
    with pytest.raises(HostError, match="is watched already"):
        watch(trainer, out=tmp_path / "again")
