"""What a method selects does not depend on how TRL cuts the step, unless it is asked to select as published."""

import pytest
import torch
from tests.trainers.conftest import same
from trl import GRPOTrainer

from forkpoint.trainers import _trl_step
from forkpoint.trainers.trl import manage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
CUTS = [(32, 1), (16, 2), (8, 4)]
METHODS = {
    "forking_tokens": {"method": "forking_tokens"},
    "kl_cov": {"method": "kl_cov", "share": 0.05},
    "clip_cov": {"method": "clip_cov", "share": 0.03, "low": 0.05, "high": 50.0},
    "kl_cov at rollout": {"method": "kl_cov", "share": 0.05, "at": "rollout"},
    "clip_cov at rollout": {"method": "clip_cov", "share": 0.03, "low": 0.05, "high": 50.0, "at": "rollout"},
}


def selected(train, cut, **settings):
    """(chosen tokens of each of two steps as (row, position), loss and gradient norm of each) for one cut."""
    tokens = [set(), set()]

    class Noting(manage(GRPOTrainer, **settings)):
        def compute_loss(self, model, inputs, **more):
            loss = super().compute_loss(model, inputs, **more)
            plan, rows = self.forkpoint_plan, inputs["forkpoint_row_id"].tolist()
            mask = inputs["completion_mask"].bool()
            for i, j in ((plan.mark | (plan.weight == 0)) & mask).nonzero().tolist():
                tokens[self.state.global_step].add((rows[i], j))
            return loss

    size, pieces = cut
    steps, _, _ = train(Noting, max_steps=2, per_device_train_batch_size=size, gradient_accumulation_steps=pieces)
    return tokens, steps


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_the_same_tokens_however_the_step_is_cut(train, settings):
    whole, *cut = [selected(train, cut, **settings) for cut in CUTS]
    assert all(len(tokens) > 20 for tokens in whole[0])
    for tokens, steps in cut:
        assert tokens == whole[0]
        assert torch.tensor(steps) == pytest.approx(torch.tensor(whole[1]), rel=1e-3, abs=1e-5)


def test_selecting_at_the_rollout_needs_no_extra_pass(train, monkeypatch):
    """The sampler's log-probs are there already; today's are not, which the second half shows."""

    def scored(*_):
        raise AssertionError("an extra pass was made")

    monkeypatch.setattr(_trl_step, "scored", scored)
    tokens, _ = selected(train, CUTS[1], **METHODS["kl_cov at rollout"])
    assert all(len(chosen) > 20 for chosen in tokens)
    with pytest.raises(AssertionError, match="an extra pass"):
        selected(train, CUTS[1], **METHODS["kl_cov"])


def test_micro_batch_scope_selects_others(train):
    """The negative control: as the published code selects, the cut decides."""
    one, four = (selected(train, cut, scope="micro_batch", **METHODS["kl_cov"]) for cut in (CUTS[0], CUTS[2]))
    assert one[0] != four[0]
    assert one[0] == selected(train, CUTS[0], **METHODS["kl_cov"])[0]


def test_the_extra_pass_changes_no_other_number(train):
    """A method whose plan turns out neutral equals stock bit for bit, extra pass or not."""
    cut = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
    asked = manage(GRPOTrainer, method="kl_cov", share=0.05, coef=0.0)
    inside = manage(GRPOTrainer, method="kl_cov", scope="micro_batch", share=0.05, coef=0.0)
    assert same(train(asked, **cut), train(inside, **cut))
