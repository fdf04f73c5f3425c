"""Rows of different lengths side by side: padded on the left, with positions that count without the padding."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from forkpoint.policies import bare


def left_padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[Int[Tensor, "N T"], Int[Tensor, "N T"]]:
    """(ids, mask); any id will do for ``fill``, as it is behind the mask.

    >>> [part.tolist() for part in left_padded([(5,), (6, 7)], fill=0)]
    [[[0, 5], [6, 7]], [[0, 1], [1, 1]]]
    """
    width = max(map(len, rows))
    ids = torch.tensor([[fill] * (width - len(row)) + list(row) for row in rows])
    return ids, torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])


def places(mask: Int[Tensor, "N T"]) -> Int[Tensor, "N T"]:
    """The position of each token in its row, without the padding before it.

    >>> places(torch.tensor([[0, 0, 1, 1]])).tolist()
    [[0, 0, 0, 1]]
    """
    return (mask.cumsum(-1) - 1).clamp(min=0)


def takes_places(model: Any) -> bool:
    """Whether ``position_ids`` may be given; a model that has none does without, or counts by the mask itself."""
    return "position_ids" in signature(bare(model).forward).parameters
