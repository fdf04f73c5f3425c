"""UCPO: among a prompt's right answers, more credit for those the policy finds unlikely (arXiv:2605.00365).

    q_i = exp(l_i) / sum_j exp(l_j),    l the mean log-prob per token, i and j over the n right answers of the prompt
    A_i' = A_i n ((1 - tau) / n + tau (1 / q_i) / sum_j (1 / q_j)),    then the clipped surrogate

GRPO does not care how probability is spread over right answers, and sampling noise then narrows it down to a few.

Settings of the paper  tau 0.2 in the authors' runs (their code's own default is 0.3), a clip of 0.2, a token mean.
Differs from the authors' code: no floor of 1e-6 under q, which no group of moderate size reaches.
Pitfalls  l is a mean per token, so the weights are nearly flat: log-probs of -120, -150 and -90 over 200 tokens give
0.9985, 1.0306 and 0.9709. Needs rewards of 0 and 1, and the policy's log-probs of the whole group: a host that spreads
a group over processes must fill ``group_logp``, which TRL can only where it keeps the sampler's log-probs.
"""

from forkpoint.credit.inverse_probability import inverse_probability
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def ucpo(*, tau: float = 0.2, clip_low: float = 0.2, clip_high: float = 0.2) -> Method:
    """Spread the advantage of a prompt's right answers towards the unlikely ones.

    tau in [0, 1] (0 leaves all as they are), clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp, mask = torch.tensor([[-0.6], [-0.75], [-0.45]]), torch.ones(3, 1, dtype=torch.bool)
    >>> step = StepBatch(logp, logp, mask, torch.ones(3), reward=torch.ones(3), group_reward=torch.ones(3, 3),
    ...                  group_logp=logp.T.expand(3, 3))
    >>> ucpo(tau=1.0).plan(step).advantage[:, 0]                # 3 / q / sum(1 / q), q = .3308, .2848, .3844
    tensor([0.9925, 1.1532, 0.8543])
    """
    return Method(
        (inverse_probability(tau=tau),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("reward", "group_reward", "group_logp"),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        rewards=(0.0, 1.0),
        stand_in=("clip_low", "clip_high"),
    )
