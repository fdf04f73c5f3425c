"""Shifts credit among a prompt's right answers towards those the policy finds unlikely (arXiv:2605.00365).

    q_i = exp(l_i) / sum_j exp(l_j),    l the mean log-prob per token, i and j over the n right answers of the prompt
    A_i' = A_i n ((1 - tau) / n + tau (1 / q_i) / sum_j (1 / q_j))

Where the right answers of a prompt share one advantage, as under 0/1 rewards, the sum of their advantages is preserved.
Wrong answers and a lone right answer are left alone. The sum over q cancels, so no 1/q is ever formed: the second share
is the softmax of -l.
"""

from dataclasses import replace

import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._groups import binary, own_logp, own_rewards, rewards_and_logps
from forkpoint.credit._rule import CreditRule, Key, declares


def inverse_probability(*, tau: float = 0.2) -> CreditRule:
    """Weigh the right answers of each prompt against their probability; tau in [0, 1], ValueError otherwise.

    >>> logp, on = torch.tensor([[-0.6], [-0.75], [-0.45]]), torch.ones(3, 1, dtype=torch.bool)
    >>> step = StepBatch(logp, logp, on, torch.ones(3), reward=torch.ones(3), group=torch.zeros(3, dtype=torch.long))
    >>> inverse_probability()(step, Plan.neutral(step), (0, 0)).advantage[:, 0]      # q = .331, .285, .384
    tensor([0.9985, 1.0306, 0.9709])
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"tau={tau}: it mixes equal and inverse shares, from 0 (equal) to 1 (inverse)")

    @declares(row_local=True, advantage="shaped", at="rollout")
    def rule(step: StepBatch, plan: Plan, key: Key) -> Plan:
        rewards, logps = rewards_and_logps(step)
        lifted = -logps.double()
        right = binary(rewards, "ucpo") & ~lifted.isnan()
        total = torch.where(right, lifted, -torch.inf).logsumexp(1)
        # the row is one of those it is compared with, so its share is at most 1 but for what the host rounded
        share = (-own_logp(step).double() - total).exp().clamp(max=1)
        weight = 1 - tau + tau * (right.sum(1) * share)
        chosen = binary(own_rewards(step), "ucpo") & (right.sum(1) > 1) & step.mask.any(1)
        weight = torch.where(chosen, weight, 1.0).to(plan.advantage.dtype).unsqueeze(1)
        return replace(plan, advantage=plan.advantage * weight)

    return rule
