"""Which rollouts are shown, and what each token says."""

from collections import Counter

import pytest

from forkpoint.report._choice import chosen
from forkpoint.report.rollouts import EDGES, rollouts, shade
from tests.report.two_runs import PLAIN, rollout_rows


def test_ten_early_and_ten_late_over_both_runs_and_both_verdicts(two_runs):
    shown = rollouts(two_runs).content["rollouts"]
    assert Counter(one.half for one in shown) == {"early": 10, "late": 10}
    for half, step in (("early", 0), ("late", 160)):
        mine = [one for one in shown if one.half == half]
        assert {one.step for one in mine} == {step}
        assert Counter(one.name for one in mine) == {"plain GRPO": 5, "fork thermostat": 5}
        assert Counter(one.verdict for one in mine) == {"correct": 6, "wrong": 4}


def test_the_choice_does_not_depend_on_chance(two_runs):
    assert chosen(two_runs, "late") == chosen(two_runs, "late")


def test_a_new_prompt_comes_before_another_answer_to_the_same(make_run):
    rows = [row | {"prompt": f"problem {index // 2}"} for index, row in enumerate(rollout_rows(PLAIN, seed=0)[:4])]
    rows = [row | {"verdict": "correct"} for row in rows]
    picked = [row["prompt"] for _, row in chosen([make_run("run", PLAIN, rollouts=rows)], "early")]
    assert picked == ["problem 0", "problem 1", "problem 0", "problem 1"]


def test_one_recorded_step_is_early_and_nothing_is_shown_twice(make_run):
    run = make_run("run", PLAIN, rollouts=rollout_rows(PLAIN, seed=0)[:6])
    assert len(chosen([run], "early")) == 6
    assert chosen([run], "late") == []


def test_no_verdict_is_not_wrong(make_run):
    row = rollout_rows(PLAIN, seed=0)[0] | {"verdict": "none"}
    (one,) = rollouts([make_run("run", PLAIN, rollouts=[row])]).content["rollouts"]
    assert (one.sign, one.verdict) == ("?", "no verdict")


def test_a_token_tells_all_of_its_readings(make_run):
    row = rollout_rows(PLAIN, seed=0)[0]
    row |= {"entropy": [1.25, *row["entropy"][1:]], "logp_sampler": [-0.5, *row["logp_sampler"][1:]]}
    row |= {"mark": [True] * 38, "weight": [2.0] * 38}
    (one,) = rollouts([make_run("run", PLAIN, rollouts=[row])]).content["rollouts"]
    assert one.tokens[0].told == "“try” · entropy 1.250 nats · log-prob −0.500 · planning · weight 2.00 · marked"


def test_a_token_without_readings_says_so(make_run):
    row = {"kind": "eval", "step": 0, "prompt": "p", "tokens": ["a"], "verdict": "correct"}
    (one,) = rollouts([make_run("run", PLAIN, rollouts=[row])]).content["rollouts"]
    assert one.tokens[0].told == "“a” · entropy not recorded · other"
    assert one.tokens[0].shade == -1


@pytest.mark.parametrize("index, edge", list(enumerate(EDGES)))
def test_a_shade_begins_at_its_edge(index, edge):
    assert (shade(edge - 1e-9), shade(edge)) == (index, index + 1)


def test_no_rollouts_no_section(make_run):
    assert rollouts([make_run("run", PLAIN, rollouts=[])]) is None


def test_runs_with_one_start_do_not_show_the_same_answer_twice(make_run):
    rows = rollout_rows(PLAIN, seed=0)
    picked = chosen([make_run("one", PLAIN, rollouts=rows), make_run("two", PLAIN, rollouts=rows)], "early")
    shown = [(row["prompt"], tuple(row["entropy"])) for _, row in picked]
    assert len(shown) == len(set(shown)) == 10


def test_numbers_among_the_traits_are_short(make_run):
    row = rollout_rows(PLAIN, seed=0)[0] | {"traits": '{"tries": 3.0, "format": "infix"}'}
    (one,) = rollouts([make_run("run", PLAIN, rollouts=[row])]).content["rollouts"]
    assert one.facts == ["reward 1.00", "advantage 0.90", "tries 3", "format infix"]
