"""Covariance of log-prob and advantage over the step's tokens: what drives entropy down (arXiv:2505.22617).

To first order a policy-gradient step changes entropy by -cov * step size: positive (likely tokens are the good ones)
spends entropy, negative earns it. A token's own share of it is what Clip-Cov and KL-Cov select by.
"""

from functools import reduce
from operator import add
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import ALONE, Definition, Ranks, StepBatch
from forkpoint.metrics._masked import chosen, token_advantage

ABOUT = Definition(
    key="covariance/logp_advantage",
    estimator="population covariance of log-prob (policy in training) and advantage",
    reduction="over all tokens of the step, each with its row's advantage",
    unit="nats x advantage",
    by_role=True,
)


class Comoment(NamedTuple):
    """A covariance that merges without cancellation (Chan, Golub & LeVeque 1983): number, two means, centered product.

    >>> (Comoment(1.0, 0.0, 0.0, 0.0) + Comoment(1.0, 2.0, 6.0, 0.0)).value     # x = 0, 2; y = 0, 6: mean of 1 * 3
    3.0
    """

    num: float
    mean_x: float
    mean_y: float
    product: float
    """sum of (x - mean_x) (y - mean_y)"""

    @staticmethod
    def of(x: Float[Tensor, " N"], y: Float[Tensor, " N"]) -> "Comoment":
        """The comoment of paired float64 values."""
        if not len(x):
            return Comoment(0.0, 0.0, 0.0, 0.0)
        mean_x, mean_y = float(x.mean()), float(y.mean())
        return Comoment(float(len(x)), mean_x, mean_y, float(((x - mean_x) * (y - mean_y)).sum()))

    def __add__(self, other: "Comoment") -> "Comoment":  # type: ignore[override]  # a tuple's + would concatenate
        num = self.num + other.num
        if not num:
            return self
        share = other.num / num
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        product = self.product + other.product + dx * dy * self.num * share
        return Comoment(num, self.mean_x + dx * share, self.mean_y + dy * share, product)

    def over(self, ranks: Ranks | None) -> "Comoment":
        """The sum over all ranks, in their order: 32 bytes from each, and the same bits on each."""
        own = torch.tensor(self, dtype=torch.float64)
        return reduce(add, (Comoment(*map(float, row)) for row in (ranks or ALONE).gather(own)))

    @property
    def value(self) -> float:
        """product / num: the population form, as in the paper; nan without tokens, 0 for one token."""
        return self.product / self.num if self.num else float("nan")


def covariance(step: StepBatch, at: Literal["update", "rollout"] = "update") -> Comoment:
    """mean over chosen tokens of (log pi(y) - mean log pi) (A - mean A), any sign.

    ``at`` names the policy of log pi: "update" is the one in training, "rollout" the one that sampled.
    By role, the means are the role's own, so the roles' values do not add up to the step's. Of a step spread over
    ranks it reads this rank's rows; ``Comoment.over`` adds up the ranks.

    >>> step = StepBatch(torch.tensor([[-1.0], [-3.0]]), torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool),
    ...                  torch.tensor([0.5, -0.5]))
    >>> covariance(step).value                                  # ((-1 + 2) * .5 + (-3 + 2) * -.5) / 2
    0.5
    """
    return Comoment.of(chosen(logp_at(step, at), step.mask), token_advantage(step))


def token_covariance(
    step: StepBatch, at: Literal["update", "rollout"] = "update", advantage: Float[Tensor, "B T"] | None = None
) -> Float[Tensor, "B T"]:
    """(log pi(y) - mean log pi) (A - mean A) of each token, in float64; 0 outside the mask.

    A is the host's, or ``advantage``, a token's own: that of a plan, where an earlier rule has changed it.

    The means run over the chosen tokens of the whole step, those of other ranks too: within one row A - mean A would be
    0 for every token. Its sum over chosen tokens, divided by their number, is ``covariance(step, at).value``.

    >>> step = StepBatch(torch.tensor([[-1.0, 7.0], [-4.0, -4.0]]), torch.zeros(2, 2),
    ...                  torch.tensor([[True, False], [True, True]]), torch.tensor([1.0, -0.5]))
    >>> token_covariance(step)                      # means -3 and 0: 2 * 1, masked, -1 * -.5, -1 * -.5
    tensor([[2.0000, 0.0000],
            [0.5000, 0.5000]], dtype=torch.float64)
    """
    logp = logp_at(step, at)
    own = step.advantage.unsqueeze(1).expand_as(logp) if advantage is None else advantage
    moments = Comoment.of(chosen(logp, step.mask), chosen(own, step.mask)).over(step.ranks)
    spread = (logp.detach().double() - moments.mean_x) * (own.detach().double() - moments.mean_y)
    return torch.where(step.mask, spread, 0.0)


def check_at(at: str) -> None:
    """ValueError unless ``at`` names a policy."""
    if at not in ("update", "rollout"):
        raise ValueError(f"at={at!r}: choose 'update' (policy in training) or 'rollout' (policy that sampled)")


def logp_at(step: StepBatch, at: str) -> Float[Tensor, "B T"]:
    """The log-probs of the policy that ``at`` names."""
    check_at(at)
    return step.logp if at == "update" else step.logp_old
