"""pass@k, unbiased: the chance that k of a prompt's answers hold a right one (arXiv:2107.03374, Eq. 1).

pass@1 is accuracy; pass@k for large k is what the policy can still reach. Training that sharpens one way of solving
raises the first and lowers the second.
"""

import math
from collections import Counter

from forkpoint.batch import Definition, Mean, StepBatch
from forkpoint.metrics._masked import filled

ABOUT = Definition(
    key="pass@8",
    estimator="unbiased 1 - C(n - c, k) / C(n, k) per prompt, k as the key says",
    reduction="mean over prompts",
    unit="share",
    reads=("correct", "group"),
    token_set="whole completions",
)

COLUMNS = {f"pass@{k}": {"k": k} for k in (1, 2, 4, 8, 16, 32, 64)}


def unbiased_pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the chance that k draws without replacement from n samples, c right, hold a right one.

    Multiplied out as 1 - prod_{i = n-c+1..n} (1 - k / i), so no binomial overflows; exactly 1 where fewer than k are
    wrong, because i then passes k. The shortcut 1 - (1 - c/n)^k draws with replacement and is biased low: 0.6836 below.

    Raises ValueError where k is not from 1 to n, or c not from 0 to n.

    >>> round(unbiased_pass_at_k(16, 4, 4), 6)                  # 1 - C(12, 4) / C(16, 4) = 1 - 495 / 1820
    0.728022
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} needs 1 <= k <= samples, but there are {num_samples}: lower k or sample more")
    if not 0 <= num_correct <= num_samples:
        raise ValueError(
            f"pass@{k}: {num_correct} right of {num_samples} samples; give a count from 0 to {num_samples}"
        )
    return 1.0 - math.prod(1.0 - k / i for i in range(num_samples - num_correct + 1, num_samples + 1))


def pass_at_k(step: StepBatch, k: int = 8) -> Mean:
    """mean over groups of ``unbiased_pass_at_k``; from 0 to 1. Parts merge where each holds whole groups.

    Raises ValueError that names a group with fewer than k rows: it has no unbiased estimate, and leaving it out would
    favor the prompts whose every answer got a verdict.

    >>> import torch
    >>> step = StepBatch(torch.zeros(4, 1), torch.zeros(4, 1), torch.ones(4, 1, dtype=torch.bool), torch.zeros(4),
    ...                  correct=torch.tensor([True, False, False, False]), group=torch.tensor([0, 0, 1, 1]))
    >>> pass_at_k(step, k=1).value, pass_at_k(step, k=2).value      # (1/2 + 0) / 2, (1 + 0) / 2
    (0.25, 0.5)
    """
    sizes, right = _groups(step)
    short = min(sizes, key=lambda group: sizes[group], default=None)
    if short is not None and sizes[short] < k:
        raise ValueError(f"pass@{k}: group {short} has {sizes[short]} rows; choose k <= {sizes[short]} or sample more")
    each = [unbiased_pass_at_k(sizes[group], right[group], k) for group in sizes]
    return Mean(math.fsum(each), float(len(each)))


def applies(step: StepBatch, k: int = 8) -> bool:
    """Whether every group has the k rows that pass@k needs."""
    return all(size >= k for size in _groups(step)[0].values())


def _groups(step: StepBatch) -> tuple[Counter[int], Counter[int]]:
    """Rows per group, and right rows per group."""
    groups = [int(group) for group in filled(step, "group").cpu()]
    correct = [bool(right) for right in filled(step, "correct").cpu()]
    return Counter(groups), Counter(group for group, right in zip(groups, correct, strict=True) if right)
