"""Effective rank of an answer's hidden states, its velocity and acceleration over prefixes (arXiv:2509.23808).

How many directions the last layer's states spread over while an answer is written. It grows with the length of the
answer whatever is written, so it stands beside ``rank/null``, what independent Gaussian states of the same shape have,
and ``rank/over_null`` is the quotient. ``_prefix_rank.rank_statistics`` has the formulas.
"""

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import filled, mean_of

ABOUT = Definition(
    key="rank/effective",
    estimator="exp of the entropy of the centered singular values of an answer's last 512 states after the final norm; "
    "velocity and acceleration over prefixes, null for independent Gaussian states of that shape",
    reduction="mean over answers long enough to have a value",
    unit="directions; over_null is a quotient",
    reads=("rank",),
    token_set="whole completions",
)
COLUMNS = {
    f"rank/{name}": {"statistic": name} for name in ("effective", "velocity", "acceleration", "null", "over_null")
}


def rank_of_states(step: StepBatch, statistic: str = "effective") -> Mean:
    """mean over rows of one column of ``StepBatch.rank``; rows too short to have a value (nan) are left out.

    A row whose states are not finite is left out too; ``guard/entropy_nonfinite`` shows it, as its logits come from
    those states. nan where no row has a value.

    >>> import torch
    >>> rank = torch.tensor([[8.0, 2.0, 1.0, 16.0], [4.0, torch.nan, torch.nan, 4.0]])
    >>> step = StepBatch(torch.zeros(2, 1), torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool), torch.ones(2),
    ...                  rank=rank)
    >>> [rank_of_states(step, name).value for name in ("effective", "velocity", "over_null")]   # (8/16 + 4/4) / 2
    [6.0, 2.0, 0.75]
    """
    rank = filled(step, "rank").detach().cpu().double()
    effective, velocity, acceleration, null = rank.unbind(1)
    named = {"effective": effective, "velocity": velocity, "acceleration": acceleration, "null": null}
    named["over_null"] = effective / null
    if statistic not in named:
        raise ValueError(f"rank_of_states: statistic={statistic!r}; choose {' or '.join(named)}")
    return mean_of(named[statistic][~named[statistic].isnan()])
