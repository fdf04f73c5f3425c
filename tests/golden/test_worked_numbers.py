"""Numbers that follow from a paper's formula by hand, for parts whose other numbers stand with them."""

import math

import pytest
import torch

from forkpoint.batch import StepBatch
from forkpoint.credit._select import quota
from forkpoint.decoders._branch_rules import branch_probability, truncated
from forkpoint.decoders._next import Next, Warp
from forkpoint.decoders._stops import ColdStop
from forkpoint.decoders.randomised_soft_thinking import gumbel_softmax
from forkpoint.methods import build
from forkpoint.metrics._mutual_information import prompt_information
from forkpoint.metrics._prefix_rank import motion, prefix_ranks
from forkpoint.metrics.entropy_full import entropy_full, token_entropy
from forkpoint.metrics.entropy_full_sequence_mean import entropy_full_sequence_mean
from forkpoint.metrics.entropy_quantile import entropy_quantile
from forkpoint.metrics.strategies import Identities


def of_entropies(entropy, mask):
    entropy, mask = torch.tensor(entropy), torch.tensor(mask, dtype=torch.bool)
    return StepBatch(torch.zeros_like(entropy), torch.zeros_like(entropy), mask, entropy[:, 0], entropy=entropy)


# ---- entropy and its averages


def test_one_table_of_entropies_has_several_means():
    step = of_entropies([[1.0, 0.5, 0.0, 0.0], [0.2, 0.2, 0.2, 0.2]], [[1, 1, 0, 0], [1, 1, 1, 1]])
    tokens, answers = entropy_full(step), entropy_full_sequence_mean(step)
    assert (tokens.value, tokens.sum) == pytest.approx((0.383333, 2.3), abs=6e-7)
    assert answers.value == pytest.approx(0.475, abs=6e-8)


def test_the_eightieth_percentile_of_eleven_entropies():
    """The threshold that TRL's own mask takes for a share of 0.2."""
    entropy = [[0.0, 1.2, 0.01, 0.7, 2.0, 0.3], [0.05, 0.9, 0.001, 0.4, 0.6, 9.9]]
    step = of_entropies(entropy, [[1] * 6, [1] * 5 + [0]])
    assert entropy_quantile(step, 0.8).value == pytest.approx(0.9, abs=1e-6)


def test_a_fifth_of_8192_tokens():
    mask = torch.ones(8, 1024, dtype=torch.bool)
    assert [quota(share, mask) for share in (0.2, 2e-4)] == [1638, 1]


# ---- advantages and groups


def test_one_right_answer_of_eight_without_division_by_the_spread():
    reward = torch.tensor([1.0] + [0.0] * 7)
    zeros = torch.zeros(8, 1)
    group = torch.zeros(8, dtype=torch.long)
    step = StepBatch(zeros, zeros, zeros == 0, torch.zeros(8), reward=reward, group=group)
    assert build("dr_grpo").plan(step).advantage[:, 0].tolist() == [0.875] + [-0.125] * 7


def test_strategic_grams_in_bits():
    """Counts of 6, 3 and 1: 0.897946 nats."""
    counted = Identities("plug_in", {(1,): 6, (2,): 3, (3,): 1})
    assert counted.value / math.log(2) == pytest.approx(1.2954618, abs=6e-8)


def test_entropy_of_completions_is_information_and_what_is_left():
    """0.581910 + 1.1 nats per token."""
    told = prompt_information(torch.tensor([[-1.0, -3.0], [-3.5, -1.2]]))
    assert told.mutual_information + told.conditional == pytest.approx(1.681910, abs=6e-7)


# ---- effective rank


def test_differences_from_the_mean_of_the_prefixes_before():
    t, j = torch.arange(13.0).double().unsqueeze(1), torch.arange(4.0).double()
    ranks = prefix_ranks(torch.cos(0.5 * t * (j + 1)) + 0.1 * j * t, stride=3)
    before = torch.stack([ranks[:n].mean() for n in range(1, len(ranks))])
    assert (ranks[1:] - before).tolist() == pytest.approx([1.492632, 0.674883, 0.459293], abs=6e-7)
    assert float((ranks[1:] - before).mean()) == pytest.approx(motion(ranks)[0], abs=1e-12)


# ---- thinking softly


LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, -3.0]]).double()


def test_the_mix_of_five_logits_by_stage():
    tempered = Next(LOGITS, Warp(temperature=0.6))
    assert tempered.filtered[0].tolist() == pytest.approx([0.8120, 0.1534, 0.0290, 0.0055, 0.0002], abs=6e-5)
    three = Next(LOGITS, Warp(temperature=0.6, top_k=3))
    assert three.filtered[0, :3].tolist() == pytest.approx([0.81663, 0.15424, 0.02913], abs=6e-6)
    found = Next(LOGITS, Warp(temperature=0.6, top_p=0.95))
    entropies = [float(found.entropy(which)) for which in ("tempered", "raw", "filtered")]
    assert entropies == pytest.approx([0.589407, 0.971274, 0.437790], abs=6e-7)


def test_cold_stop_fires_at_the_seventh_entropy_alone():
    stop, count, fired = ColdStop(0.01, 3), 0, []
    for entropy in (0.3, 0.005, 0.004, 0.02, 0.001, 0.002, 0.003):
        count = stop.count(count, entropy, True)
        fired.append(bool(stop.over(count)))
    assert fired == [False] * 6 + [True]


@pytest.mark.parametrize(
    ("threshold", "tempered", "raw"),
    [(0.01, 0.99869, 0.982), (0.05, 0.9913, 0.945), (0.1, 0.9795, 0.911), (0.2, 0.9495, 0.853)],
)
def test_what_a_threshold_asks_of_two_tokens(threshold, tempered, raw):
    """The likelier one's probability at temperature 0.6 whose entropy is the threshold, and its raw one."""
    logits = torch.tensor([[math.log(tempered / (1 - tempered)) * 0.6, 0.0]]).double()
    assert float(Next(logits, Warp(temperature=0.6)).entropy("tempered")) == pytest.approx(threshold, rel=6e-3)
    assert float(logits.softmax(-1)[0, 0]) == pytest.approx(raw, abs=6e-4)
    assert float(token_entropy(logits, 0.6)) == pytest.approx(threshold, rel=6e-3)


def test_the_largest_weight_of_a_gumbel_mixture():
    p = torch.tensor([[0.6, 0.3, 0.1]]).double().expand(40_000, 3)
    luck = torch.rand(p.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    largest = [float(gumbel_softmax(p, luck, t).max(-1).values.mean()) for t in (0.1, 0.5, 1.0, 3.0)]
    assert largest == pytest.approx([0.963, 0.824, 0.693, 0.485], abs=3e-3)


# ---- branching


def test_a_change_of_entropy_moves_the_chance_to_branch():
    assert [branch_probability(change) for change in (0.2, -0.2, 0.4)] == pytest.approx([0.54, 0.46, 0.58])


def test_twenty_tokens_of_ten_equal_choices():
    assert 20 * truncated([math.log(0.1)] * 10, 151_936) == pytest.approx(3.86, abs=6e-3)
