"""Sampled policy entropy: -log p of the tokens that were drawn, under the policy that drew them (arXiv:2505.22312).

Needs no logits: the sampler's log-probs are enough. Unbiased for the full entropy only where tokens were drawn from the
very distribution that ``logp_old`` scores; top-k, top-p or another temperature bias it. exp of it is the perplexity of
the tokens it is taken over: ``entropy/sampled/execution`` gives that of execution tokens.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import chosen, mean_of

ABOUT = Definition(
    key="entropy/sampled",
    estimator="-log p of each sampled token under the policy that sampled it (logp_old); its exp is their perplexity",
    reduction="token mean",
    unit="nats",
    by_role=True,
)


def entropy_sampled(step: StepBatch) -> Mean:
    """mean over chosen tokens of -log pi_old(y_t); 0 or more, and above ln V where unlikely tokens were drawn.

    >>> import torch
    >>> half_and_eighth = torch.tensor([[0.5, 0.125]]).log()
    >>> step = StepBatch(torch.zeros(1, 2), half_and_eighth, torch.ones(1, 2, dtype=torch.bool), torch.ones(1))
    >>> round(entropy_sampled(step).value, 6)                   # (ln 2 + ln 8) / 2 = 2 ln 2
    1.386294
    """
    return mean_of(-chosen(step.logp_old, step.mask))
