"""Accuracy: the share of completions that the verifier calls right (definition).

Every completion weighs the same; pass@1 weighs prompts alike, which differs where groups differ in size.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import filled

ABOUT = Definition(
    key="accuracy",
    estimator="verifier's verdict; completions without a verdict are not in the step",
    reduction="mean over completions",
    unit="share",
    reads=("correct",),
    token_set="whole completions",
)


def accuracy(step: StepBatch) -> Mean:
    """#{rows that are right} / #rows, from 0 to 1.

    >>> import torch
    >>> step = StepBatch(torch.zeros(4, 1), torch.zeros(4, 1), torch.ones(4, 1, dtype=torch.bool), torch.zeros(4),
    ...                  correct=torch.tensor([True, False, True, True]))
    >>> accuracy(step).value
    0.75
    """
    correct = filled(step, "correct")
    return Mean(float(correct.sum()), float(correct.numel()))
