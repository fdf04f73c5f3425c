"""The covariance as a forecast of entropy, where everything is exact (arXiv:2505.22617, Theorem 2).

One softmax over four actions. A natural-gradient step adds eta A to the logits, and to first order
dH = -eta Cov(log p, A). The batch holds every action in its expected number, so the token covariance is the policy's.
"""

import pytest
import torch

from forkpoint.batch import StepBatch
from forkpoint.metrics.covariance import covariance
from forkpoint.metrics.entropy_full import token_entropy
from forkpoint.studies._tabular import first_order, worked_check

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)
NUM_TOKENS = 200_000


def entropy(logits):
    return float(torch.distributions.Categorical(logits=logits).entropy())


def measured(value_of_action):
    """Advantage per action, and the covariance of a batch sampled in proportion to p."""
    logp = LOGITS.log_softmax(0)
    value = torch.tensor(value_of_action, dtype=torch.float64)
    advantage = value - (logp.exp() * value).sum()
    actions = torch.repeat_interleave(torch.arange(4), (NUM_TOKENS * logp.exp()).round().long())
    sampled = logp[actions].unsqueeze(1)
    batch = StepBatch(sampled, sampled, torch.ones_like(sampled, dtype=torch.bool), advantage[actions])
    return advantage, covariance(batch).value


@pytest.mark.parametrize(
    ("eta", "exact", "forecast"), [(0.1, -0.0252997797, -0.0246777174), (0.001, -0.0002468432, -0.0002467772)]
)
def test_covariance_forecasts_the_change_of_entropy(eta, exact, forecast):
    advantage, cov = measured([1.0, 0.0, 0.0, 1.0])
    change = entropy(LOGITS + eta * advantage) - entropy(LOGITS)
    assert change == pytest.approx(exact, abs=1e-10)
    assert -eta * cov == pytest.approx(forecast, rel=1e-5)  # 200,000 tokens hold p to that many digits


def test_the_policy_its_advantages_and_the_table_of_its_changes():
    advantage, _ = measured([1.0, 0.0, 0.0, 1.0])
    assert LOGITS.softmax(0).tolist() == pytest.approx([0.643914, 0.236883, 0.087144, 0.032059], abs=6e-7)
    assert advantage.tolist() == pytest.approx([0.324027, -0.675973, -0.675973, 0.324027], abs=6e-7)
    assert float(token_entropy(LOGITS)) == pytest.approx(0.94753696, abs=6e-9)
    table = worked_check()
    assert [(row["step"], row["eta"]) for row in table[1:3]] == [("plain", 0.001), ("natural", 0.1)]
    forecast = [-0.0093681295, -0.0000936813, -0.0246777174, -0.0002467772]
    assert [row["predicted"] for row in table] == pytest.approx(forecast, abs=6e-11)
    ratio = [1.010284, 1.000105, 1.025207, 1.000268]
    assert [1 + row["error"] for row in table] == pytest.approx(ratio, abs=6e-7)


@pytest.mark.parametrize(("rewarded", "expected", "plain"), [(0, 0.326688, 0.101655), (3, -0.079911, -0.007974)])
def test_entropy_falls_when_the_likely_is_rewarded_and_rises_when_the_rare_is(rewarded, expected, plain):
    value = [0.0] * 4
    value[rewarded] = 1.0
    advantage, cov = measured(value)
    change = entropy(LOGITS + 1e-3 * advantage) - entropy(LOGITS)
    assert cov == pytest.approx(expected, rel=1e-4)
    assert change * cov < 0
    assert -float(first_order(LOGITS[None], (LOGITS.softmax(0) * advantage)[None])) == pytest.approx(plain, abs=6e-7)
