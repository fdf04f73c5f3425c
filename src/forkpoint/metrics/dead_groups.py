"""Share of groups whose rewards are all the same (arXiv:2503.14476 leaves them out by dynamic sampling).

A group-relative advantage is reward minus the group's mean, so such a group has none, all right or all wrong. A task
too easy or too hard shows here first. Equal is exactly equal: a tolerance would call small differences dead.
"""

import math
from collections.abc import Hashable

from forkpoint.batch import Definition, StepBatch
from forkpoint.metrics._groups import Distinct, distinct
from forkpoint.metrics._masked import filled

ABOUT = Definition(
    key="guard/dead_group_share",
    estimator="groups with no two different rewards; completions without a reward are left out of the comparison",
    reduction="share of groups",
    unit="share",
    reads=("reward", "group"),
    token_set="whole completions",
)


def dead_groups(step: StepBatch) -> Distinct:
    """#{groups with at most one distinct reward} / #groups, from 0 to 1; nan without a group.

    nan is "no reward"; a group of nothing else is dead.

    >>> import torch
    >>> reward = torch.tensor([1.0, 1.0, 0.0, 1.0, torch.nan, 1.0])
    >>> step = StepBatch(torch.zeros(6, 1), torch.zeros(6, 1), torch.ones(6, 1, dtype=torch.bool), torch.zeros(6),
    ...                  reward=reward, group=torch.tensor([0, 0, 1, 1, 2, 2]))
    >>> round(dead_groups(step).value, 3)                       # groups 0 and 2 of three
    0.667
    """
    rewards = list(map(float, filled(step, "reward").cpu()))

    def scored(row: int) -> frozenset[Hashable]:
        return frozenset() if math.isnan(rewards[row]) else frozenset({rewards[row]})

    return distinct(filled(step, "group"), scored)
