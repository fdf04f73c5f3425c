"""A tracker that fails is counted and told of once; training goes on to the same end, unless it was asked to stop."""

import pytest
from tests.trainers.conftest import same
from transformers import TrainerCallback
from transformers.integrations import integration_utils
from trl import GRPOTrainer

from forkpoint.record import open_run
from forkpoint.trainers.trl import watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


class Failing(TrainerCallback):
    """Works for two logs, then its service is gone."""

    def __init__(self):
        self.logs = 0

    def on_log(self, args, state, control, **kwargs):
        self.logs += 1
        if self.logs > 2:
            raise ConnectionError("no route to the tracker")

    def on_train_end(self, args, state, control, **kwargs):
        raise ConnectionError("still none")


class Tracker(Failing):
    """One that transformers knows as a tracker."""


class Theirs(Failing):
    """A callback of the user's own."""


@pytest.fixture
def tracked(train, tmp_path, monkeypatch):
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "ours", Tracker)

    def run(callback=Tracker, **options):
        def prepare(trainer):
            trainer.add_callback(callback())
            watch(trainer, out=tmp_path / "run", **options)

        return train(GRPOTrainer, prepare=prepare, max_steps=4)

    return run


def test_a_dead_tracker_is_counted_and_training_ends_as_without_one(train, tracked, tmp_path):
    bare = train(GRPOTrainer, max_steps=4)
    with pytest.warns(UserWarning, match="Tracker failed .ConnectionError: no route to the tracker") as told:
        assert same(bare, tracked())
    assert sum("Tracker failed" in str(warning.message) for warning in told) == 1
    run = open_run(tmp_path / "run")
    # a step's line is written before its own log is sent
    assert run.column("guard/tracker_failures")[1].tolist() == [0, 0, 0, 1]
    assert run.status["state"] == "done"


def test_strict_log_lets_it_stop_the_run(tracked, tmp_path):
    with pytest.raises(ConnectionError):
        tracked(strict_log=True)
    assert open_run(tmp_path / "run").status["state"] == "failed"


def test_an_error_in_a_users_own_callback_is_theirs(tracked):
    with pytest.raises(ConnectionError):
        tracked(Theirs)
