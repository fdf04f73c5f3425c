"""What a study tells: spreads over seeds, and readings of a run that a reader can redo by hand."""

import math

import pytest

from forkpoint.record import RunWriter, open_run
from forkpoint.studies import Finding, Spread
from forkpoint.studies.entropy_spent import effective_formats, reading


def test_a_spread_of_one_seed_has_no_deviation():
    assert math.isnan(Spread.of([1.0]).deviation)


def test_the_table_has_a_row_for_every_quantity():
    finding = Finding("claim", "command", {"A": {"x": Spread.of([1.0, 2.0])}, "B": {"y": Spread.of([3.0, 3.0])}})
    assert finding.markdown().splitlines() == [
        "| | A | B |",
        "|---|---|---|",
        "| x | 1.500 ± 0.707 [1.000, 2.000] |  |",
        "| y |  | 3.000 ± 0.000 [3.000, 3.000] |",
    ]


def test_a_reading_is_the_run_s_own_numbers(tmp_path):
    method = {"name": "grpo", "settings": {}, "intervenes": False}
    about = dict(name="GRPO", config={}, method=method, task="countdown", seed=0, definitions={})
    with RunWriter.create(tmp_path / "run", **about) as writer:
        for i, entropy in enumerate([0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1]):
            formats = {"diversity/format/a": 0.5 + i / 12, "diversity/format/b": 0.5 - i / 12}
            row = {"accuracy": 0.9 - 0.3 * math.exp(entropy), "pass@8": 0.9 - 0.01 * i * (i - 2)}
            row |= {"entropy/full": entropy, "entropy/full_sequence_mean": entropy, "entropy/full/fork": 2 * entropy}
            writer.metrics("eval", 10 * i, row | formats)
    found = reading(open_run(tmp_path / "run"))
    assert found["share of entropy lost"] == pytest.approx(0.75)
    assert found["accuracy at end"] - found["accuracy at start"] == pytest.approx(0.3 * (math.e**0.4 - math.e**0.1))
    assert found["pass@8 at its highest"] == pytest.approx(0.91)
    assert found["effective formats at start"] == pytest.approx(2.0)
    assert found["effective formats at end"] == pytest.approx(1.0)
    assert found["R² of entropy_exchange"] == pytest.approx(1.0)
    assert found["ceiling of entropy_exchange"] == pytest.approx(0.6)


def test_effective_formats_count_a_dead_format_as_none():
    assert effective_formats({"diversity/format/a": 1.0, "diversity/format/b": 0.0, "accuracy": 0.3}) == 1.0
