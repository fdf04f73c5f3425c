"""The page of the comparison of decoders: a table per policy, and the questions answered by the rows, or left open."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forkpoint.record.documents import write_bytes
from forkpoint.studies._paired import Difference, paired
from forkpoint.studies._pieces import Row
from forkpoint.studies._svg import lines

Rows = Mapping[str, Mapping[int, Row]]
"""arm -> seed -> row"""
NAMES = {
    "start": "before RL",
    "grpo": "after GRPO",
    "kept": "with entropy kept (fork_thermostat)",
    "direct": "taught without thinking",
}


CONTRASTS = (
    ("soft_thinking", "sample"),
    ("randomised_soft_thinking", "sample"),
    ("cold_stop", "soft_thinking"),
    ("swi_reasoning", "sample"),
    ("calibrated_stop", "sample"),
    ("parallel_vote", "greedy"),
    ("cot_decoding", "greedy"),
    ("cot_decoding", "parallel_vote"),
    ("deep_confidence", "parallel_vote"),
    ("tree_expansion", "parallel_vote"),
    ("entropy_branching", "parallel_vote"),
    ("wide_branching", "parallel_vote"),
    ("calibrated_stop_votes", "parallel_vote"),
    ("randomised_soft_thinking", "soft_thinking"),
    ("randomised_soft_thinking+parallel_vote", "parallel_vote"),
)
"""what publications compare, or should have"""


def estimate(table: NDArray[np.float64]) -> Difference:
    """Of a table (seeds, problems): its mean with an interval over both, drawn alike for every table.

    A problem without a verdict in one of the seeds is nan, and left out.
    """
    there = table[:, np.isfinite(table).all(0)]
    return paired(there, np.zeros_like(there))


def signed(one: Difference) -> str:
    return f"{one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def share(one: Difference) -> str:
    return f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"


def write_page(page: Path, found: Rows) -> Path:
    """``page`` as Markdown, and its figure beside it; returns ``page``."""
    page.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(page, "\n\n".join(_parts(page, found)).encode() + b"\n")
    return page


def _parts(page: Path, found: Rows) -> Iterator[str]:
    yield "# What tokens buy at inference"
    if not found:
        yield "No policy is decoded yet: `python -m forkpoint.studies.inference`."
        return
    row = next(iter(next(iter(found.values())).values()))
    seeds = ", ".join(f"{NAMES[arm]} {len(rows)}" for arm, rows in found.items())
    commits = ", ".join(sorted({one["commit"] for rows in found.values() for one in rows.values() if one["commit"]}))
    yield (
        f"Written by `python -m forkpoint.studies.inference` from the rows in `benchmarks/results/study-inference`: "
        f"{row['problems']} held-out problems of countdown; budgets in tokens per problem with everything counted; "
        f"commits {commits}. Rows: {seeds}; before RL and without thinking these are seeds of the draws of one policy, "
        "else of trainings. Accuracy of the answer given, mean over seeds, with 95 % bootstrap intervals over seeds "
        "and problems; three seeds are few for it. One tiny policy and one task: nothing here speaks for large models."
    )
    yield "## Answers"
    yield "\n".join(f"* {line}" for line in _answers(found))
    yield f"## Against each other, at {_last(next(iter(found.values())))} tokens"
    yield _contrasts(found)
    for arm, rows in found.items():
        yield f"## {NAMES[arm][:1].upper()}{NAMES[arm][1:]}"
        yield _table(rows)
    yield "## Forced length"
    figure = page.with_name(f"{page.stem}-forced.svg")
    series = {NAMES[arm]: _curve(rows) for arm, rows in found.items()}
    title = "Accuracy when thinking is forced to a length"
    write_bytes(figure, lines(title, series, "thinking tokens", "accuracy").encode())
    yield f"![{title}]({figure.name})"
    yield _forced_table(found)
    yield "## Settings"
    yield (
        "Where they are no defaults they stand in `SETTINGS` of `src/forkpoint/studies/inference.py`, fixed before any "
        "of these rows; cold_stop and wide_branching came after a first study of other policies. soft_thinking keeps "
        "the source's patience of 256 tokens, so that its Cold Stop never acts; cold_stop is the same with a patience "
        "of 4. entropy_branching has two beams and ends long before 512 tokens, as its tokens spent show; "
        "wide_branching has eight. entropy_stop has a threshold of ours that is calibrated to nothing; the two "
        "calibrated stops have the source's rule, on problems of training. In these rows, discarded of "
        "entropy_branching and wide_branching is what was pruned; rows that ended and were not chosen, which count as "
        "discarded now, are not in it."
    )


def _answers(found: Rows) -> Iterator[str]:
    """One sentence per question that the rows can answer, with the number it rests on."""
    thinking = {arm: rows for arm, rows in found.items() if arm != "direct"}
    for arm, rows in thinking.items():
        gain = _less(rows, "soft_thinking", "greedy", _last(rows))
        yield f"Is soft thinking more than greedy, {NAMES[arm]}? {verdict(gain)}: {signed(gain)}."
    for arm, rows in thinking.items():
        lengths = [int(length) for length in next(iter(rows.values()))["forced"]]
        accuracy = [estimate(_forced(rows, length)).mean for length in lengths]
        best = lengths[int(np.argmax(accuracy))]
        drop = estimate(_forced(rows, lengths[-1]) - _forced(rows, best))
        falls = best != lengths[-1]
        hurts = f"from there to {lengths[-1]} it changes by {signed(drop)}" if falls else "it never falls"
        free = share(estimate(_right(rows, "sample", _last(rows)))) if "sample" in _decoders(rows) else "not measured"
        told = f"Accuracy is highest at {best} tokens ({max(accuracy):.3f}; unforced {free}); {hurts}."
        yield f"Where does forced length start to hurt, {NAMES[arm]}? {told}"
    if {"start", "direct"} <= set(found):
        small, large = _first(found["start"]), _last(found["direct"])
        direct = estimate(_right(found["direct"], "parallel_vote", large))
        thinks = estimate(_right(found["start"], "greedy", small))
        yield (
            f"Does the policy without thinking catch up? With {large} tokens of votes it reaches {share(direct)}; the "
            f"one that thinks has {share(thinks)} from one greedy completion."
        )
    for arm, other in (("grpo", "start"), ("kept", "grpo")):
        if not {arm, other} <= set(found):
            continue
        ours, theirs = _both(found, arm, other)
        for budget in (_first(theirs), _last(theirs)):
            ahead = estimate(_right(ours, "parallel_vote", budget) - _right(theirs, "parallel_vote", budget))
            who = f"the policy {NAMES[arm]} ahead of that {NAMES[other]}"
            yield f"Is {who}, voting for {budget} tokens? {verdict(ahead)}: {signed(ahead)}."
    if {"grpo", "kept"} <= set(found):
        gains = dict(zip(("grpo", "kept"), map(_gain, _both(found, "grpo", "kept")), strict=True))
        difference = estimate(gains["kept"] - gains["grpo"])
        yield (
            f"Does entropy kept in training gain more from budget? Votes gain {signed(estimate(gains['kept']))} with "
            f"it and {signed(estimate(gains['grpo']))} after plain GRPO, from the smallest budget to the largest: "
            f"{verdict(difference)}, the difference is {signed(difference)}."
        )
    for arm, rows in thinking.items():
        saved = _saved(rows)
        if saved:
            yield f"Does an online stop by confidence pay, {NAMES[arm]}? {saved}"
    for arm, rows in thinking.items():
        for budget in list(_decoders(rows).get("abstractions", {}))[-2:]:
            gain = _less(rows, "abstractions", "parallel_vote", budget)
            asked = f"Do openings as abstractions beat plain samples at {budget} tokens, {NAMES[arm]}"
            yield f"{asked}? {verdict(gain)}: {signed(gain)}."


def _saved(rows: Mapping[int, Row]) -> str:
    """``deep_confidence`` at the largest budget against votes for half of it, where it spends no more than that."""
    budgets = list(_decoders(rows).get("deep_confidence", {}))
    if len(budgets) < 2:
        return ""
    half, last = budgets[-2:]
    spent = float(np.mean([row["decoders"]["deep_confidence"][last]["tokens"] for row in rows.values()]))
    less = f"Of {last} tokens deep_confidence spends {spent:.0f}"
    if spent > int(half):
        return f"{less}, more than the votes for {half} that it could be held against."
    gain = estimate(_right(rows, "deep_confidence", last) - _right(rows, "parallel_vote", half))
    return f"{less}; against votes for {half}: {verdict(gain)}, {signed(gain)}."


def verdict(gain: Difference, up: str = "yes", down: str = "no, it is worse") -> str:
    return "not to be told" if not gain.excludes_zero else up if gain.mean > 0 else down


def _both(found: Rows, *arms: str) -> list[dict[int, Row]]:
    """The rows of each, of the seeds that all have."""
    seeds = sorted(set.intersection(*(set(found[arm]) for arm in arms)))
    return [{seed: found[arm][seed] for seed in seeds} for arm in arms]


def _gain(rows: Mapping[int, Row]) -> NDArray[np.float64]:
    return _right(rows, "parallel_vote", _last(rows)) - _right(rows, "parallel_vote", _first(rows))


def _less(rows: Mapping[int, Row], name: str, other: str, budget: str) -> Difference:
    return estimate(_right(rows, name, budget) - _right(rows, other, budget))


def _contrasts(found: Rows) -> str:
    """Accuracy of one less the other's, policy by policy; a dash where a policy has not both."""
    body = []
    for one, other in CONTRASTS:
        cells = [
            signed(_less(rows, one, other, _last(rows))) if {one, other} <= set(_decoders(rows)) else "–"
            for rows in found.values()
        ]
        body.append([f"{one} less {other}", *cells])
    return markdown(["accuracy", *(NAMES[arm] for arm in found)], [row for row in body if set(row[1:]) != {"–"}])


def _decoders(rows: Mapping[int, Row]) -> Row:
    return next(iter(rows.values()))["decoders"]


def _table(rows: Mapping[int, Row]) -> str:
    one = _decoders(rows)
    budgets = list(next(iter(one.values())))
    head = ["decoder", *(f"{budget} tokens" for budget in budgets), f"spent of {budgets[-1]}", "discarded"]
    body = []
    for name in one:
        cells = [share(estimate(_right(rows, name, budget))) for budget in budgets]
        last = [row["decoders"][name][budgets[-1]] for row in rows.values()]
        body.append(
            [name, *cells, *(f"{np.mean([cell[key] for cell in last]):.0f}" for key in ("tokens", "discarded"))]
        )
    return markdown(head, body)


def _forced_table(found: Rows) -> str:
    lengths = list(next(iter(next(iter(found.values())).values()))["forced"])
    head = ["", *(f"{length} tokens" for length in lengths)]
    body = [[NAMES[arm], *(share(estimate(_forced(rows, int(n)))) for n in lengths)] for arm, rows in found.items()]
    return markdown(head, body)


def _curve(rows: Mapping[int, Row]) -> list[tuple[float, float]]:
    lengths = next(iter(rows.values()))["forced"]
    return [(float(length), estimate(_forced(rows, int(length))).mean) for length in lengths]


def _right(rows: Mapping[int, Row], name: str, budget: str) -> NDArray[np.float64]:
    return _letters([row["decoders"][name][budget]["right"] for row in rows.values()])


def _forced(rows: Mapping[int, Row], length: int) -> NDArray[np.float64]:
    return _letters([row["forced"][str(length)]["right"] for row in rows.values()])


def _letters(columns: Sequence[str]) -> NDArray[np.float64]:
    """
    >>> _letters(["10-"])
    array([[ 1.,  0., nan]])
    """
    return np.array([[{"1": 1.0, "0": 0.0}.get(letter, np.nan) for letter in column] for column in columns])


def _first(rows: Mapping[int, Row]) -> str:
    return next(iter(next(iter(next(iter(rows.values()))["decoders"].values()))))


def _last(rows: Mapping[int, Row]) -> str:
    return list(next(iter(next(iter(rows.values()))["decoders"].values())))[-1]


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in body)]
    return "\n".join(lines)
