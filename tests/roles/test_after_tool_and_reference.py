"""Roles that do not come from labels: after a tool's result, and where a frozen reference is undecided."""

from dataclasses import replace

import pytest
import torch
from tests.laws.random_steps import random_step
from tests.laws.thread_ranks import on_ranks

from forkpoint.batch import StepBatch
from forkpoint.roles.after_tool import after_tool
from forkpoint.roles.reference_fork import reference_fork


def row(written, *, mask=None):
    """'p' is the policy's token, 't' a tool's, '.' padding."""
    tool = torch.tensor([[c == "t" for c in written]])
    mine = torch.tensor([[c == "p" for c in written]])
    return StepBatch(torch.zeros(mine.shape), torch.zeros(mine.shape), mine, torch.ones(1), tool=tool)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ppttppppp", "    ++   "),
        ("ttppttppp", "  ++  ++ "),  # each result counts anew
        ("pttpttppp", "   +  ++ "),  # a short turn between two results
        ("pppp", "    "),
        ("tttt....", "        "),
        ("pt.p.p.p", "   + +  "),  # a token the policy did not write is not counted
    ],
)
def test_the_first_two_tokens_after_each_result(written, expected):
    found = "".join("+" if hit else " " for hit in after_tool(row(written), num=2)[0])
    assert found == expected


def test_twenty_tokens_by_default():
    assert int(after_tool(row("t" + "p" * 50)).sum()) == 20


def test_a_number_of_tokens_below_one_is_refused():
    with pytest.raises(ValueError, match="num=0; give a number of tokens from 1"):
        after_tool(row("tp"), num=0)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_the_top_share_is_that_of_the_whole_step_on_any_number_of_ranks(share, num_ranks):
    step = random_step(3, num_rows=13, num_tokens=9)
    whole = reference_fork(step, share=share)
    parts = torch.arange(13).tensor_split(num_ranks)
    found = on_ranks(
        num_ranks, lambda ranks: reference_fork(replace(step.rows(parts[ranks.index]), ranks=ranks), share=share)
    )
    assert torch.equal(torch.cat(found), whole)
    scores = step.entropy_reference[step.mask]
    expected = scores.sort(descending=True).values[: -int(-share * len(scores) // 1)]
    assert torch.equal(step.entropy_reference[whole].sort(descending=True).values, expected)


def test_ties_are_all_in_and_numbers_of_any_size_are_ordered():
    values = torch.tensor([[-torch.inf, 0.0, -0.0, 1e-40, 3.0, 3.0, 3.0, torch.inf, torch.nan]])
    step = replace(random_step(0, 1, 9), mask=torch.ones(1, 9, dtype=torch.bool), entropy_reference=values)
    assert reference_fork(step, share=0.25).tolist() == [[False] * 4 + [True] * 4 + [False]]


def test_a_step_without_a_chosen_token_has_no_forks():
    step = random_step(0)
    assert not reference_fork(replace(step, mask=torch.zeros_like(step.mask)), share=0.5).any()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_that_is_no_fraction_is_refused(share):
    with pytest.raises(ValueError, match=r"reference_fork: share=.*it is a fraction above 0, the top 20 % is 0.2"):
        reference_fork(random_step(0), share=share)


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_a_threshold_that_is_no_entropy_is_refused(threshold):
    with pytest.raises(ValueError, match=r"reference_fork: threshold=.*it is an entropy in nats, 0 or more"):
        reference_fork(random_step(0), threshold)


def test_the_threshold_is_the_papers_percentile():
    step = random_step(1)
    assert torch.equal(reference_fork(step), step.mask & (step.entropy_reference.double() >= 0.672))
