"""How many different planning moves a rollout holds: entropy of planning runs' identities (after arXiv:2509.03646).

A planning run is an unbroken run of tokens labeled PLANNING, and its identity is its token ids: the count of phrases a
policy plans with. That paper calls the entropy of its planning phrases semantic entropy; it is not the semantic
entropy over meanings of answers (arXiv:2302.09664), so it has another name here.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from forkpoint.batch import Definition, Label, StepBatch
from forkpoint.metrics._masked import filled

ABOUT = Definition(
    key="diversity/strategies",
    estimator="plug-in Shannon entropy of the identities of planning runs; strategies_miller_madow: with (K - 1) / 2N "
    "added, K identities among N runs; strategies_num: N, in runs; planning_tokens: the same of single tokens",
    reduction="over the step's planning tokens",
    unit="nats",
    reads=("label", "token_ids"),
    token_set="tokens labeled planning",
)
COLUMNS = {
    "diversity/strategies": {},
    "diversity/strategies_miller_madow": {"form": "corrected"},
    "diversity/strategies_num": {"form": "num"},
    "diversity/planning_tokens": {"single": True},
    "diversity/planning_tokens_miller_madow": {"single": True, "form": "corrected"},
}


class Identities(NamedTuple):
    """How often each identity was seen; merges by adding the counts. nan where none was.

    >>> counts = Counter({(1,): 6, (2,): 3, (3,): 1})
    >>> [round(Identities(form, counts).value, 6) for form in ("plug_in", "corrected", "num")]      # .897946 + 2 / 20
    [0.897946, 0.997946, 10.0]
    """

    form: str
    seen: Mapping[tuple[int, ...], int]

    def __add__(self, other: "Identities") -> "Identities":  # type: ignore[override]  # a tuple's + would concatenate
        return Identities(self.form, Counter(self.seen) + Counter(other.seen))

    @property
    def value(self) -> float:
        num = sum(self.seen.values())
        if not num:
            return math.nan
        if self.form == "num":
            return float(num)
        # fsum: the same bits in whatever order the parts were merged
        plug_in = math.fsum(count / num * math.log(num / count) for count in self.seen.values())
        return plug_in + ((len(self.seen) - 1) / (2 * num) if self.form == "corrected" else 0.0)


def strategies(step: StepBatch, form: str = "plug_in", single: bool = False) -> Identities:
    """-sum_k n_k / N ln(n_k / N) over identities, in nats; from 0 (one way to plan) to ln N.

    The plug-in estimate is low by about (K - 1) / 2N nats: compare rollouts of one size, or the corrected column. A
    masked token ends a run. ``single`` takes each planning token for itself.

    >>> import torch
    >>> ids, label = torch.tensor([[5, 6, 1, 5, 6, 7]]), torch.tensor([[3, 3, 2, 3, 3, 2]])
    >>> step = StepBatch(torch.zeros(1, 6), torch.zeros(1, 6), torch.ones(1, 6, dtype=torch.bool), torch.ones(1),
    ...                  token_ids=ids, label=label)
    >>> strategies(step).value, round(strategies(step, single=True).value, 6)       # (5, 6) twice; 5 twice and 6 twice
    (0.0, 0.693147)
    """
    if form not in ("plug_in", "corrected", "num"):
        raise ValueError(f"strategies: form={form!r}; choose plug_in, corrected or num")
    planning: Any = (filled(step, "label") == Label.PLANNING) & step.mask
    seen: Counter[tuple[int, ...]] = Counter()
    token_ids: Any = filled(step, "token_ids")
    for ids, kept in zip(token_ids.tolist(), planning.tolist(), strict=True):
        seen.update([(ids[i],) for i, keep in enumerate(kept) if keep] if single else _runs(ids, kept))
    return Identities(form, seen)


def _runs(ids: list[int], kept: list[bool]) -> list[tuple[int, ...]]:
    runs: list[tuple[int, ...]] = []
    start = 0
    for i in range(len(kept) + 1):
        if i == len(kept) or not kept[i]:
            if start < i:
                runs.append(tuple(ids[start:i]))
            start = i + 1
    return runs
