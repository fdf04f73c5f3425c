"""The covariance as a forecast of entropy, where everything is exact (arXiv:2505.22617, Theorem 2).

One softmax over four actions. A natural-gradient step adds eta A to the logits, and to first order
dH = -eta Cov(log p, A). The batch holds every action in its expected number, so the token covariance is the policy's.
"""

import pytest
import torch

from forkpoint.batch import StepBatch
from forkpoint.metrics.covariance import covariance

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


@pytest.mark.parametrize(("rewarded", "expected"), [(0, 0.326688), (3, -0.079911)])
def test_entropy_falls_when_the_likely_is_rewarded_and_rises_when_the_rare_is(rewarded, expected):
    value = [0.0] * 4
    value[rewarded] = 1.0
    advantage, cov = measured(value)
    change = entropy(LOGITS + 1e-3 * advantage) - entropy(LOGITS)
    assert cov == pytest.approx(expected, rel=1e-4)
    assert change * cov < 0
