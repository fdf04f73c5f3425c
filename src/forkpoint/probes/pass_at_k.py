"""pass@k, unbiased: the chance that k of a problem's completions hold a right one (arXiv:2107.03374, Eq. 1).

1 - C(n - c, k) / C(n, k) per problem with n judged completions, c of them right; a share from 0 to 1. pass@1 is
accuracy, and the largest k what the model can still reach.
"""

import math
from collections.abc import Sequence

from forkpoint.metrics.pass_at_k import unbiased_pass_at_k
from forkpoint.probes._few import left_out, sizes
from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Drawn, Samples


def pass_at_k(samples: Samples, *, ks: Sequence[int] | None = None) -> Reading:
    """pass@k at k = 1, 2, 4 ... up to the judged completions of a problem, or at ``ks``.

    A completion without a verdict is left out of n. A problem with fewer than k of the rest is left out of pass@k, and
    the note counts both: where verdicts fail on hard problems, what is left is too easy.

    Raises ValueError for a k that no problem has enough judged completions for.

    >>> one = Drawn("p", "", ("",) * 16, ("",) * 16, ("correct",) * 4 + ("wrong",) * 12, (0.0,) * 16, (1,) * 16)
    >>> {name: round(found.value, 6) for name, found in pass_at_k(Samples((one,)), ks=(1, 4)).values.items()}
    {'pass@1': 0.25, 'pass@4': 0.728022}
    """
    asked = sizes(samples, ks, "pass_at_k")

    def passes(one: Drawn, k: int) -> float:
        return unbiased_pass_at_k(len(one.judged), one.num_correct, k) if len(one.judged) >= k else math.nan

    columns = {f"pass@{k}": samples.each(lambda one, k=k: passes(one, k)) for k in asked}
    return reading(columns, "share", left_out(samples, max(asked)))
