"""Effective rank of an answer's hidden states, its velocity and acceleration over prefixes (arXiv:2509.23808).

How many directions the last layer's states spread over while an answer is written. It grows with the length of the
answer whatever is written, and so does its velocity: each stands beside what independent Gaussian states of the same
shape have, ``rank/null``, ``rank/null_velocity`` and ``rank/null_acceleration``. ``rank/over_null`` is the quotient of
the two effective ranks. ``_prefix_rank.rank_statistics`` has the formulas.
"""

from torch import Tensor

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
STATISTICS = ("effective", "velocity", "acceleration", "null", "null_velocity", "null_acceleration")
"""the columns of ``StepBatch.rank``"""
COLUMNS = {f"rank/{name}": {"statistic": name} for name in (*STATISTICS, "over_null")}


def rank_of_states(step: StepBatch, statistic: str = "effective") -> Mean:
    """mean over rows of one column of ``StepBatch.rank``, or of effective / null ("over_null").

    Rows too short to have a value (nan) are left out. A row whose states are not finite is left out too;
    ``guard/entropy_nonfinite`` shows it, as its logits come from those states. nan where no row has a value.

    >>> import torch
    >>> short = [torch.nan, torch.nan]
    >>> rank = torch.tensor([[8.0, 2.0, 1.0, 16.0, 5.0, 1.5], [4.0, *short, 4.0, *short]])
    >>> step = StepBatch(torch.zeros(2, 1), torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool), torch.ones(2),
    ...                  rank=rank)
    >>> [rank_of_states(step, name).value for name in ("effective", "velocity", "null_velocity")]
    [6.0, 2.0, 5.0]
    >>> rank_of_states(step, "over_null").value                                         # (8/16 + 4/4) / 2
    0.75
    """
    rank = filled(step, "rank").detach().cpu().double()
    if rank.shape[1] != len(STATISTICS):
        raise ValueError(f"StepBatch.rank has {rank.shape[1]} columns: fill it with the {len(STATISTICS)} {STATISTICS}")
    named: dict[str, Tensor] = dict(zip(STATISTICS, rank.unbind(1), strict=True))
    named["over_null"] = named["effective"] / named["null"]
    if statistic not in named:
        raise ValueError(f"rank_of_states: statistic={statistic!r}; choose {' or '.join(named)}")
    return mean_of(named[statistic][~named[statistic].isnan()])
