"""Mean and mean absolute advantage of the chosen tokens, by role too, before a method (our definition).

It is the host trainer's: what a managed trainer's method makes of it, token by token, is ``advantage/taught``. Every
token carries its row's advantage, so a role's mean differs from the step's only because the role's tokens are
more common in good answers, or in bad ones; long answers weigh more.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import mean_of, token_advantage

ABOUT = Definition(
    key="advantage/mean",
    estimator="advantage of each token's row, as the trainer computed it (advantage/abs: its absolute value)",
    reduction="token mean",
    unit="advantage",
    by_role=True,
)
COLUMNS = {"advantage/mean": {}, "advantage/abs": {"absolute": True}}


def advantage(step: StepBatch, absolute: bool = False) -> Mean:
    """mean over chosen tokens of A, or of abs(A); the first has any sign, the second is 0 only where nothing is taught.

    >>> import torch
    >>> step = StepBatch(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([[True, True], [True, False]]),
    ...                  torch.tensor([0.5, -2.0]))
    >>> advantage(step).value, advantage(step, absolute=True).value         # (.5 + .5 - 2) / 3 and (.5 + .5 + 2) / 3
    (-0.3333333333333333, 1.0)
    """
    values = token_advantage(step)
    return mean_of(values.abs() if absolute else values)
