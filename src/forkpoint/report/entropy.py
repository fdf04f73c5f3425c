"""The same policy's entropy by three estimators: entropy is not one number."""

from collections.abc import Sequence

from forkpoint.record.read import Run
from forkpoint.report._plot import common_range, panel
from forkpoint.report._section import Section
from forkpoint.report._series import Series, changes, definitions, either, remarks, step_table
from forkpoint.report._text import listed, nats, number, sentence

ORDER = 40
ESTIMATORS = {
    "entropy/full": "Full softmax, token mean",
    "entropy/full_sequence_mean": "Full softmax, sequence mean",
    "entropy/sampled": "Sampled tokens, −log p",
}


def entropy(runs: Sequence[Run]) -> Section | None:
    """None where no estimator was recorded; evaluations are preferred, since all estimators share their samples."""
    read = {key: either(runs, key) for key in ESTIMATORS}
    found = {key: pair[1] for key, pair in read.items() if pair[1]}
    if not found:
        return None
    flat = [one for group in found.values() for one in group]
    scale = common_range(flat)
    trained = [key for key, (kind, group) in read.items() if group and kind == "train"]
    return Section(
        "Entropy",
        _finding(found),
        [panel(ESTIMATORS[key], group, y_range=scale) for key, group in found.items()],
        definitions(runs, *found),
        "All panels share one scale, in nats."
        + (f" From training steps, not evaluations: {listed(trained)}." if trained else " Read at the evaluations."),
        step_table(flat, [f"{one.key}, {one.name}" for one in flat]),
        [*remarks(runs, flat), *[f"No run recorded {key}." for key in ESTIMATORS if key not in found]],
    )


def _finding(found: dict[str, list[Series]]) -> str:
    """How far entropy went by the main estimator, and how much the estimators differ at the end."""
    main = next(iter(found.values()))
    text = f"entropy {changes(main, number, ' nats')}"
    if len(found) > 1:
        ends = [[one.last for group in found.values() for one in group if one.arm == arm.arm] for arm in main]
        gap = max(max(values) - min(values) for values in ends)
        text += f"; at the end, {len(found)} estimators of the same policy differ by up to {nats(gap)}"
    return sentence(text)
