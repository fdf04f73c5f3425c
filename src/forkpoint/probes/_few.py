"""Numbers of k draws out of a problem's samples: which k, and who has too few."""

from collections.abc import Sequence

from forkpoint.probes._samples import Samples


def sizes(samples: Samples, ks: Sequence[int] | None, probe: str) -> list[int]:
    """The k asked for, else 1, 2, 4 ... up to the samples. Raises ValueError for one that no problem has samples for.

    Only samples with a verdict count, since a missing verdict is neither right nor wrong.
    """
    if ks is None:
        return [1 << power for power in range(max(1, samples.most).bit_length())]
    for k in ks:
        if not 1 <= k <= samples.most:
            has = f"the problem with the most verdicts has {samples.most}"
            raise ValueError(f"{probe}: k = {k}, but {has}; choose k from 1 to {samples.most}, or sample more")
    return list(ks)


def left_out(samples: Samples, k: int) -> str:
    """A note on problems that have fewer than ``k`` verdicts; empty where there is none."""
    short = sum(len(one.judged) < k for one in samples.problems)
    missing = sum(len(one.texts) - len(one.judged) for one in samples.problems)
    said = f"{missing} of {sum(len(one.texts) for one in samples.problems)} completions got no verdict"
    tail = f"; {short} of {len(samples.problems)} problems have fewer than {k} and are left out there" if short else ""
    return said + tail if missing or short else ""
