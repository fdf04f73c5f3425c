"""Branching by prompting again: the engine's bill is ours, forks are gated, the budget holds, bad engines are named."""

import math
import random

import pytest
from tests.decoders.table_model import END, PROMPT, A, B, C, Words, X, fork_table, random_table

from forkpoint.decoders import Ask, build
from forkpoint.engines.reprompt import Written, branch_by_reprompt, confidence_bar, engine_policy

ASK = Ask("p", (PROMPT,))


class Vocabulary(Words):
    def __len__(self):
        return 6


class Engine:
    """Draws from a table; keeps the bill."""

    def __init__(self, table):
        self.table, self.read, self.drawn = table, 0, 0

    def __call__(self, prompts):
        return [self.answers(prompt) for prompt in prompts]

    def answers(self, prompt):
        self.read += len(prompt.ids)
        return [self.one(prompt, random.Random(prompt.seed + i)) for i in range(prompt.num)]

    def one(self, prompt, chance):
        ids, logps, top = [], [], []
        while len(ids) < prompt.limit and ids[-1:] != [END]:
            p = self.table((*prompt.ids, *ids))
            (token,) = chance.choices([*p], [*p.values()])
            ids.append(token)
            logps.append(math.log(p[token]))
            top.append(tuple(sorted(map(math.log, p.values()), reverse=True)))
        self.drawn += len(ids)
        return Written(tuple(ids), tuple(logps), tuple(top))


def branch(engine, budget, **settings):
    (found,) = branch_by_reprompt(engine, [ASK], budget, tokenizer=Vocabulary(), ends=(END,), **settings)
    return found


def test_a_tree_worked_by_hand():
    """One chain, uncertain after ``a`` alone: ln 2 nats; two go on from there and read prompt and ``a`` again."""
    engine = Engine(fork_table)
    found = branch(engine, 100, chains=1, positions=1, max_tokens=10)
    root, *others = found.traces
    assert root.entropy[:2] == pytest.approx((0.0, math.log(2)), abs=1e-6)
    assert [trace.shared for trace in others] == [1, 1] and sum(trace.reread for trace in others) == 2
    assert {trace.ids for trace in found.traces} <= {(A, B, END), (A, C, X, END)}
    assert found.spent.total == engine.read + engine.drawn


@pytest.mark.parametrize(("threshold", "leaves"), [(0.69, 3), (0.7, 1)])
def test_only_tokens_at_or_above_the_threshold_are_branched_at(threshold, leaves):
    found = branch(Engine(fork_table), 100, chains=1, positions=4, max_tokens=10, threshold=threshold)
    assert len(found.traces) == leaves


@pytest.mark.parametrize("seed", range(12))
def test_the_bill_is_the_engines_and_the_budget_holds(seed):
    engine, budget = Engine(random_table()), 20 + 37 * seed
    found = branch(engine, budget, chains=2, positions=2, max_tokens=15, seed=seed, rounds=2)
    assert engine.read + engine.drawn <= found.spent.total <= budget, "equal prefixes of two forks count twice"
    assert found.spent.kept + found.spent.discarded == engine.drawn


def test_decoders_that_only_sample_run_over_an_engine_and_others_are_refused():
    policy = engine_policy(Engine(random_table()), Vocabulary(), (END,))
    (found,) = build("parallel_vote", max_tokens=10, entropy="top20").decode(policy, [ASK], 60)
    assert len(found.traces) >= 5 and found.spent.total <= 60
    with pytest.raises(ValueError, match="an engine draws its tokens by itself"):
        build("greedy").decode(policy, [ASK], 60)
    with pytest.raises(ValueError, match="choose entropy='top20'"):
        branch(Engine(random_table()), 60, entropy="raw")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "gave 0 completions of a prompt, not 1"),
        ([Written((A,) * 99, (0.0,) * 99, ((0.0,),) * 99)], "gave 99 tokens"),
        ([Written((A,), (0.0,), ())], "1 log-probs and 0 times the largest"),
    ],
)
def test_an_engine_that_gives_other_than_it_was_asked_for_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        branch(lambda prompts: [given for _ in prompts], 60, chains=1, max_tokens=10)


def test_the_bar_of_warm_up_paths():
    """Confidences 1, 2, 3 per path of one group each: what the surest half reaches is 2."""
    warmup = [Written((A,), (0.0,), ((-c,) * 20,)) for c in (1.0, 2.0, 3.0)]
    assert confidence_bar(warmup, 50.0, window=4) == 2.0
    with pytest.raises(ValueError, match="k is 1 to 20"):
        confidence_bar(warmup, k=21)
