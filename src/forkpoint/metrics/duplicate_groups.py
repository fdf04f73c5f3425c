"""Share of groups whose completions are all the same tokens (our definition): sampling has stopped exploring.

A policy that has collapsed, a temperature near zero, or a sampler that repeats one seed: each spends the whole group on
one completion.
"""

from collections.abc import Hashable
from hashlib import blake2b

from forkpoint.batch import Definition, StepBatch
from forkpoint.metrics._groups import Distinct, distinct
from forkpoint.metrics._masked import filled

ABOUT = Definition(
    key="guard/duplicate_group_share",
    estimator="groups whose completions are token for token the same, compared by hash",
    reduction="share of groups",
    unit="share",
    reads=("token_ids", "group"),
    token_set="whole completions",
)


def duplicate_groups(step: StepBatch) -> Distinct:
    """#{groups with at most one distinct completion} / #groups, from 0 to 1; nan without a group.

    >>> import torch
    >>> ids = torch.tensor([[5, 6], [5, 6], [5, 6], [5, 7]])
    >>> step = StepBatch(torch.zeros(4, 2), torch.zeros(4, 2), torch.ones(4, 2, dtype=torch.bool), torch.zeros(4),
    ...                  token_ids=ids, group=torch.tensor([0, 0, 1, 1]))
    >>> duplicate_groups(step).value                            # group 0 of two
    0.5
    """
    ids, mask = filled(step, "token_ids").cpu(), step.mask.cpu()

    def completion(row: int) -> frozenset[Hashable]:
        return frozenset({blake2b(ids[row][mask[row]].numpy().tobytes(), digest_size=16).digest()})

    return distinct(filled(step, "group"), completion)
