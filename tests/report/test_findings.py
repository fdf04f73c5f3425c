"""Every sentence against numbers worked out by hand from the fixture's curves (tests/report/two_runs.py)."""

import math

import numpy as np
import pytest

from forkpoint.report.backtest import backtest
from forkpoint.report.entropy import entropy
from forkpoint.report.formats import formats
from forkpoint.report.law import law
from forkpoint.report.learning import learning
from forkpoint.report.page import builders
from forkpoint.report.pass_at_k import pass_at_k
from forkpoint.report.provenance import provenance
from forkpoint.report.roles import roles
from forkpoint.report.rollouts import rollouts
from forkpoint.report.summary import effective_number, summary
from tests.report.two_runs import DEFINITIONS, MANAGED, PLAIN, STEPS


def test_the_summary_says_start_and_end_of_accuracy_and_entropy(two_runs):
    assert summary(two_runs).finding == (
        "With plain GRPO, accuracy rose from 46.1% to 69.4% while entropy fell from 0.290 to 0.100 nats; "
        "with fork thermostat, accuracy rose from 46.1% to 66.8% while entropy fell from 0.290 to 0.245 nats; "
        "one run each is a demonstration, not a result."
    )


def test_the_headlines_are_accuracy_pass_at_8_entropy_and_formats(two_runs):
    headlines = {one.title: one.changes for one in summary(two_runs).content["headlines"]}
    assert headlines["Accuracy"][0] == (0, "plain GRPO", "46.1%", "69.4%")
    assert headlines["pass@8"][1] == (1, "fork thermostat", "94.0%", "90.0%")
    assert headlines["Entropy"][0] == (0, "plain GRPO", "0.290", "0.100")
    # shares .45 .33 .22: -(.45 ln .45 + .33 ln .33 + .22 ln .22) = .3593 + .3659 + .3331 = 1.0583, e^1.0583 = 2.88
    assert headlines["Formats alive"][0] == (0, "plain GRPO", "2.88", "1.12")


def test_uniform_formats_count_fully():
    assert effective_number([0.25] * 4) == pytest.approx(4)


def test_learning_names_both_ends(two_runs):
    assert learning(two_runs).finding == (
        "Held-out accuracy rose from 46.1% to 69.4% with plain GRPO and from 46.1% to 66.8% with fork thermostat."
    )


def test_pass_at_k_says_what_more_answers_are_worth(two_runs):
    """At the end pass@8 - pass@1 is 77.5 - 69.4 = 8.1 points and 90.0 - 66.8 = 23.2 points."""
    assert pass_at_k(two_runs).finding == (
        "pass@8 fell from 94.0% to 77.5% with plain GRPO and from 94.0% to 90.0% with fork thermostat; "
        "at the end, 8 answers instead of one are worth "
        "8.1 points with plain GRPO and 23.2 points with fork thermostat."
    )


def test_estimators_of_one_policy_differ(two_runs):
    """Managed: token mean .245, sequence mean 1.07 x .245, sampled .98 x .245; the gap is .09 x .245 = .022."""
    assert entropy(two_runs).finding.endswith("at the end, 3 estimators of the same policy differ by up to 0.022 nats.")


def test_forks_are_compared_with_execution(two_runs):
    """Forks start at 2.4 x .290 = .696 and end at 2.4 x .100; execution tokens hold .2 of the mean, a twelfth."""
    finding = roles(two_runs).finding
    assert finding.startswith(
        "Entropy at fork tokens fell from 0.696 to 0.240 nats with plain GRPO and from 0.696 to 0.588"
    )
    assert "a fork holds 12.0 times (with plain GRPO)" in finding


def test_formats_name_the_leader(two_runs):
    assert formats(two_runs).finding == (
        "The effective number of formats fell from 2.88 to 1.12 with plain GRPO"
        " and from 2.88 to 2.67 with fork thermostat; "
        "the most common one ends at 98.0% of answers with plain GRPO (infix)"
        " and 56.0% of answers with fork thermostat (infix)."
    )


def test_rollouts_count_the_tokens_they_show(two_runs):
    section = rollouts(two_runs)
    early = [one for one in section.content["rollouts"] if one.half == "early"]
    certain = sum(token.shade < 2 for one in early for token in one.tokens)
    total = sum(len(one.tokens) for one in early)
    assert total == 10 * 38
    assert f"{certain / total:.0%} of {total} tokens in the early ones" in section.finding


def test_provenance_names_the_settings_that_differ(two_runs):
    finding = provenance(two_runs).finding
    assert finding.startswith("The runs differ in 4 of ")
    assert finding.endswith("config.method, method.name, method.intervenes and method.settings.fork.")


def test_equal_settings_are_called_equal(two_runs):
    assert "have the same" in provenance([two_runs[0], two_runs[0]]).finding


def test_repeats_of_a_method_are_not_called_a_demonstration(two_runs):
    assert summary([two_runs[0], two_runs[0]]).finding.endswith(
        "2 or more runs of each method, no interval computed here."
    )


def test_the_table_holds_the_numbers_of_the_figure(two_runs):
    section = learning(two_runs)
    table = {row[0]: row[1] for row in section.table.rows if row[1]}
    drawn = dict(zip(section.figures[0].traces[0]["x"], section.figures[0].traces[0]["y"], strict=True))
    assert {int(step): float(cell) for step, cell in table.items()} == pytest.approx(drawn)
    assert drawn == dict(zip(STEPS, PLAIN["accuracy"], strict=True))


def test_captions_come_from_the_runs_own_definitions(two_runs):
    told = dict(entropy(two_runs).definitions)
    assert told["entropy/sampled"] == (
        "-log p of the sampled token; token mean; temperature as sampled; "
        "over completion tokens the policy chose; in nats"
    )


def test_runs_that_define_a_column_differently_are_told_apart(two_runs, make_run):
    other = make_run("at T=0.6", MANAGED)
    other.header["definitions"] = DEFINITIONS | {"entropy/full": DEFINITIONS["entropy/full"] | {"temperature": "0.6"}}
    told = dict(entropy([two_runs[0], other]).definitions)
    assert "temperature 0.6" in told["entropy/full (at T=0.6)"]
    assert "temperature as sampled" in told["entropy/full (plain GRPO)"]


def test_a_run_without_a_column_is_named(two_runs, make_run):
    """Sections leave out what no run has, and say which run lacks what another has."""
    bare = make_run("bare", {key: PLAIN[key] for key in PLAIN}, without=("entropy/sampled", "accuracy", "pass@1"))
    assert "bare did not record entropy/sampled." in entropy([two_runs[0], bare]).notes
    assert learning([two_runs[0], bare]).finding == "Held-out accuracy rose from 46.1% to 69.4% with plain GRPO."
    assert "bare did not record pass@1." in pass_at_k([two_runs[0], bare]).notes


def test_a_run_without_evaluations_still_has_a_page(make_run):
    bare = make_run("bare", PLAIN, kinds=("train",), rollouts=[])
    shown = [name for name, build in builders() if build([bare]) is not None]
    assert shown == ["summary", "learning", "entropy", "provenance"]
    assert entropy([bare]).caption.endswith("From training steps, not evaluations: entropy/full.")


def test_values_that_are_not_finite_are_counted_and_leave_a_gap(make_run):
    broken = PLAIN | {"entropy/full": [0.29, math.nan, *PLAIN["entropy/full"][2:-1], math.inf]}
    section = entropy([make_run("broken", broken, rollouts=[])])
    assert "broken: 2 of 9 values of entropy/full are not finite and leave a gap." in section.notes
    assert section.finding.startswith("Entropy fell from 0.290 to 0.120 nats with broken")


def test_the_law_fits_the_plain_run_and_refuses_the_managed_one(two_runs):
    """R = b - a exp(H) by an independent least squares on the nine points of the fixture."""
    x, accuracy = np.exp(1.07 * np.array(PLAIN["entropy/full"])), np.array(PLAIN["accuracy"])
    slope, intercept = np.polyfit(x, accuracy, 1)
    r2 = 1 - np.var(accuracy - slope * x - intercept) / np.var(accuracy)
    section = law(two_runs)
    assert section.finding.startswith(
        f"With plain GRPO, the law R = b - a exp(H) fits with R² {r2:.3f} "
        f"and puts the ceiling at {slope + intercept:.1%} ("
    )
    _, table = section.content
    assert [row[:2] for row in table.rows] == [
        ["plain GRPO", "entropy exchange"],
        ["plain GRPO", "linear entropy"],
        ["plain GRPO", "saturating step"],
    ]
    assert [note for note in section.notes if note.startswith("fork thermostat has no fit: fork_thermostat acts")]
    drawn = [trace["name"] for trace in section.figures[0].traces if trace["mode"] == "markers"]
    assert drawn == ["plain GRPO", "plain GRPO, ceiling", "fork thermostat"]


def test_the_backtest_fits_the_first_four_points_and_is_held_against_the_rest(two_runs):
    """The same least squares on four points, its errors on the other five, in points of accuracy."""
    x, accuracy = np.exp(1.07 * np.array(PLAIN["entropy/full"])), np.array(PLAIN["accuracy"])
    slope, intercept = np.polyfit(x[:4], accuracy[:4], 1)
    errors = 100 * (slope * x[4:] + intercept - accuracy[4:])
    section = backtest(two_runs)
    assert section.finding.startswith(
        "Fitted to the first 4 of 9 evaluations of plain GRPO, "
        f"the law is off by {np.sqrt(np.mean(errors**2)):.1f} points on the rest (root mean square) "
        f"and by {errors[-1]:+.1f} points at the last; the better baseline, "
    )
    assert [figure.title for figure in section.figures] == ["Accuracy on held-out problems: plain GRPO"]
    assert len([row for row in section.table.rows if row[2] == "fit"]) == 4
    assert (
        "fork thermostat is not tested: its method acts on entropy, and the law is not claimed there." in section.notes
    )


def test_a_history_that_is_not_finite_is_refused_by_name(make_run):
    broken = PLAIN | {"accuracy": [0.461, math.nan, *PLAIN["accuracy"][2:]]}
    section = law([make_run("broken", broken)])
    assert section.finding == "The law is not fitted here, because no run meets its conditions."
    assert section.notes == ["broken has no fit: reward is nan at step 20; find out why before forecasting from it."]
    assert section.figures == []


def test_too_few_evaluations_are_refused_and_still_drawn(make_run):
    run = make_run("short", PLAIN, last_step=40)
    section = law([run])
    assert section.notes[0].startswith("short has no fit: ") and "at least 4 evaluations and has 3" in section.notes[0]
    assert len(section.figures) == 1
    assert backtest([run]) is None
