"""Parts the metrics share: choose the tokens first, then add up in float64.

N is the number of chosen tokens. Choosing comes before any arithmetic, so what a masked position holds cannot matter.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from forkpoint.batch import Mean, StepBatch


def filled(step: StepBatch, field: str) -> Tensor:
    """The optional field of the step. ValueError where the host left it out."""
    value = getattr(step, field)
    if value is None:
        raise ValueError(f"StepBatch.{field} is not filled and this metric reads it: fill it, or leave the metric out")
    return value


def chosen(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " N"]:
    """The values at the mask's tokens, in float64 on the CPU, without gradient.

    >>> chosen(torch.tensor([[1.0, torch.nan]]), torch.tensor([[True, False]]))
    tensor([1.], dtype=torch.float64)
    """
    # .cpu() before .double(): Apple GPUs have no float64
    return values.detach()[mask].cpu().double()


def log_ratio(step: StepBatch) -> Float[Tensor, " N"]:
    """log pi(y) - log pi_old(y) of each chosen token, in nats."""
    return chosen(step.logp, step.mask) - chosen(step.logp_old, step.mask)


def token_advantage(step: StepBatch) -> Float[Tensor, " N"]:
    """The advantage of each chosen token's row."""
    return chosen(step.advantage.unsqueeze(1).expand_as(step.logp), step.mask)


def mean_of(values: Float[Tensor, " N"]) -> Mean:
    """Their mean as (sum, count); a nan stays in the sum, so it shows.

    >>> mean_of(torch.tensor([1.0, 3.0]))
    Mean(sum=4.0, count=2.0)
    """
    return Mean(float(values.sum()), float(values.numel()))


def share_of(condition: Bool[Tensor, " N"], judged: Float[Tensor, " N"]) -> Mean:
    """How often the condition holds; nan where what it judged is nan, because a comparison with nan is just False.

    >>> judged = torch.tensor([1.0, 3.0])
    >>> share_of(judged > 2, judged).value
    0.5
    """
    return mean_of(torch.where(judged.isnan(), judged, condition.to(judged.dtype)))
