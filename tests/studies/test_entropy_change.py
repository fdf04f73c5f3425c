"""First order: what is predicted of each method's step is what a small step does."""

import json

import pytest
import torch

from forkpoint import catalog
from forkpoint.studies import entropy_change as study
from forkpoint.studies._entropy_page import write_page
from forkpoint.studies._fixed_step import SMALL, Change, methods_at_work, token_entropies
from forkpoint.studies._network import Network
from forkpoint.studies._paired import paired
from forkpoint.studies._tabular import first_order, natural, tabular, tabular_changes, worked_check
from forkpoint.studies.methods import SCALED
from forkpoint.studies.random_rewards import random_rewards

AT_WORK = methods_at_work({name: settings for name, (settings, _) in SCALED.items()})


def test_the_numbers_of_the_paper_s_theory():
    found = {(row["step"], row["eta"]): row for row in worked_check()}
    assert found["plain", 0.1]["exact"] == pytest.approx(-0.0094644690, abs=1e-10)
    assert found["plain", 0.1]["predicted"] == pytest.approx(-0.0093681295, abs=1e-10)
    assert found["natural", 0.001]["exact"] == pytest.approx(-0.0002468432, abs=1e-10)
    assert found["natural", 0.001]["predicted"] == pytest.approx(-0.0002467772, abs=1e-10)


def test_a_natural_step_is_the_advantage_itself():
    """Of the loss -E[A], whose gradient in the logits is -p A: F^+ (p A) = A, up to a constant that changes nothing."""
    z = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).double()
    p, value = z.softmax(-1), torch.tensor([[1.0, 0.0, 0.0, 1.0]]).double()
    advantage = value - (p * value).sum()
    found = natural(z, p * advantage)
    assert torch.allclose(found - found.mean(), advantage - advantage.mean(), atol=1e-9)


def test_first_order_is_the_derivative_of_entropy():
    draw = torch.Generator().manual_seed(0)
    z, direction = torch.randn(2, 5, 6, dtype=torch.float64, generator=draw)
    _, exact = torch.autograd.functional.jvp(token_entropies, z, direction)
    assert torch.allclose(first_order(z, direction), exact, atol=1e-12)


@pytest.mark.parametrize("name", catalog.names("methods"))
@pytest.mark.parametrize("seed", [0, 1])
def test_the_covariance_forecasts_a_step_of_every_method(name, seed):
    for step, change in tabular_changes(AT_WORK[name], tabular(seed)).items():
        # what is left over is second order: absolute, so that a change near zero does not fail by its smallness
        assert abs(change.measured - change.predicted) < 20 * SMALL**2, step
        assert change.predicted != 0, step


@pytest.mark.parametrize("name", catalog.names("methods"))
def test_the_error_shrinks_with_the_step(name):
    """Halving the step quarters what first order leaves over."""
    for step in ("plain", "natural"):
        ends = [tabular_changes(AT_WORK[name], tabular(2), length=length)[step] for length in (2e-3, 1e-3)]
        left = [abs(one.measured - one.predicted) for one in ends]
        assert left[1] == pytest.approx(left[0] / 4, rel=0.1)


def test_an_error_is_relative_to_the_prediction():
    assert Change(-0.1, -0.11).error == pytest.approx(0.1)
    assert Change(0.0, 0.0).error == 0.0 and Change(0.0, 0.1).error == float("inf")


@pytest.fixture(scope="module")
def network():
    return Network(0, prompts=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "kl_cov", "forking_tokens", "fork_thermostat"])
def test_the_gradient_of_entropy_forecasts_a_step_of_the_tiny_policy(network, name):
    for role, change in network.changes(AT_WORK[name], SMALL)[0].items():
        assert abs(change.measured - change.predicted) < 1e3 * SMALL**2, role
        assert abs(change.predicted) > 1e-9, role


@pytest.mark.slow
def test_measuring_leaves_the_policy_as_it_was(network):
    before = [leaf.detach().clone() for leaf in network.leaves]
    network.changes(AT_WORK["grpo"], SMALL)
    assert all(torch.equal(old, new) for old, new in zip(before, network.leaves, strict=True))


class NoNetwork:
    """Stands where the network does: changes that the batch and the method's name decide."""

    def __init__(self, seed, *, prompts):
        self.size = 0.1 * (seed + 1)

    def followed(self, method):
        return {"mid_rank": 100 * self.size} if method.name == "rank_shaping" else {}

    def changes(self, method, *lengths):
        predicted = self.size * len(method.name)
        return [dict.fromkeys(("all", "fork", "execution", "planning"), Change(predicted, predicted + 0.01))] * len(
            lengths
        )


def test_a_study_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "Network", NoNetwork)
    monkeypatch.setattr(study, "commit", lambda: "abc1234")
    result, asked = tmp_path / "result.json", {"only": ["grpo", "kl_cov"], "prompts": 2}
    whole = study.entropy_change(2, **asked)
    study.entropy_change(1, **asked, result=result)
    assert study.entropy_change(2, **asked, result=result) == whole
    text = write_page(tmp_path / "page.md", json.loads(result.read_text())).read_text()
    assert "2 such batches" in text and "| kl_cov |" in text
    # of a working tree that differs from its commit nobody knows what was measured
    monkeypatch.setattr(study, "commit", lambda: "abc1234+")
    assert study.entropy_change(0, **asked, result=result)["batches"] == 0


@pytest.mark.slow
def test_a_method_that_reads_ranks_reads_those_of_its_own_stride(network):
    """At a stride of 40 no answer has a velocity, and the step was GRPO's."""
    method = AT_WORK["rank_shaping"]
    assert method.rank_stride == 5
    used = network.followed(method)
    assert used["mid_rank"] > used["mid_velocity"] > used["mid_acceleration"] > 0
    assert network.followed(AT_WORK["grpo"]) == {}
    ours, grpo = (network.changes(AT_WORK[name], SMALL)[0] for name in ("rank_shaping", "grpo"))
    assert all(ours[role] != grpo[role] for role in ours)
    with pytest.raises(ValueError, match="rank_shaping: no row of the batch has rank/velocity; choose a stride"):
        network.changes(method.with_knobs(stride=40.0), SMALL)


def test_a_method_that_took_the_steps_of_grpo_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "Network", NoNetwork)
    told = study.entropy_change(3, only=["dapo"], prompts=2)
    assert list(told["network"]) == ["dapo", "grpo"], "there is nothing to hold a method beside without it"
    same = told["network"]["grpo"]
    told["network"]["dapo"] = {role: [*pairs[:2], [0.5, 0.6]] for role, pairs in same.items()}
    text = write_page(tmp_path / "page.md", told).read_text()
    assert "holds nothing that the method changes: dapo in 2 of 3 batches." in text
    told["network"]["dapo"] = same
    with pytest.raises(ValueError, match="network: dapo took grpo's own step, to the last bit, in every batch"):
        write_page(tmp_path / "page.md", told)


def test_the_page_prints_the_settings_that_were_used(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "Network", NoNetwork)
    told = study.entropy_change(2, only=["rank_shaping"], prompts=2)
    text = write_page(tmp_path / "page.md", told).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("* rank_shaping: gain")]
    assert "stride 5.0, clip_low" in line
    assert "tabular: mid_rank 6.00, mid_velocity 0.60, mid_acceleration 0.06" in line
    assert line.endswith("network: mid_rank 10.00 to 20.00")


@pytest.fixture(scope="module")
def without_signal():
    return {arm: change.numpy() for arm, change in random_rewards(12).items()}


@pytest.mark.parametrize(("arm", "sign"), [("lower bound 0.2 alone", 1), ("upper bound 0.2 alone", -1)])
def test_with_random_rewards_each_bound_moves_entropy_its_own_way(without_signal, arm, sign):
    beside = paired(sign * without_signal[arm], sign * without_signal["no clip"])
    assert beside.low > 0 and beside.p < 1e-3


def test_with_random_rewards_and_a_symmetric_clip_entropy_falls(without_signal):
    change = without_signal["0.2 on both sides"]
    assert paired(change, 0 * change).high < 0
