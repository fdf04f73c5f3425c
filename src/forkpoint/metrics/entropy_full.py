"""Full-softmax policy entropy, token mean (Shannon 1948): the one number most entropy curves should show.

It sees the whole next-token distribution, so unlike ``entropy_sampled`` it has no sampling noise. Every token weighs
the same, so long answers weigh more; ``entropy_full_sequence_mean`` weighs answers alike.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import chosen, filled, mean_of

ABOUT = Definition(
    key="entropy/full",
    estimator="exact entropy of the full softmax of the policy in training",
    reduction="token mean",
    unit="nats",
    reads=("entropy",),
    by_role=True,
)


def entropy_full(step: StepBatch) -> Mean:
    """mean over chosen tokens of H_t; from 0 (certain) to ln V (uniform).

    One non-finite H_t makes the mean non-finite; ``entropy_nonfinite`` says how many there were.

    >>> step = StepBatch(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([[True, True, False]]), torch.ones(1),
    ...                  entropy=torch.tensor([[1.0, 3.0, torch.nan]]))
    >>> entropy_full(step)                                      # (1 + 3) / 2, the masked nan is not looked at
    Mean(sum=4.0, count=2.0)
    """
    return mean_of(chosen(filled(step, "entropy"), step.mask))


def token_entropy(logits: Float[Tensor, "*N V"], temperature: float = 1.0) -> Float[Tensor, "*N"]:
    """H = -sum_v p_v ln p_v with p = softmax(logits / temperature), in nats; from 0 (certain) to ln V (uniform).

    Computed in float32 (float64 for float64 logits), with gradient dH/dz_v = -p_v (ln p_v + H) / temperature.
    A logit of -inf is an impossible token: it adds 0 to the value and has gradient 0. A row that is no distribution
    (all -inf, or any nan or +inf) gives nan, never a made-up number. Makes a few V-wide copies: chunk large N.

    Raises ValueError where ``temperature`` is not a positive number.

    >>> token_entropy(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -torch.inf], [-torch.inf, 0.0, -torch.inf]]))
    tensor([1.0986, 0.6931, 0.0000])

    ln 3, ln 2 and 0: three, two and one token possible.
    """
    if not (0.0 < temperature < math.inf):
        raise ValueError(
            f"token_entropy: temperature is {temperature}; give a positive finite number (1.0 = as trained)"
        )
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logp = (wide / temperature).log_softmax(-1)
    p = logp.exp()
    # mask before the product: 0 * -inf is nan, and a nan replaced after the product still has a nan gradient
    return (p * torch.where(p > 0, -logp, 0.0)).sum(-1)
