"""Choosing tokens, against brute force and against the statistics of a fair draw."""

import numpy as np
import pytest
import torch

from forkpoint.credit._select import draw_by_hash, quota, top_by_score
from forkpoint.draws import mix, token_hash

M64 = 2**64 - 1


def splitmix64(word):
    """The published algorithm in Python's own integers."""
    word = (word + 0x9E3779B97F4A7C15) & M64
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & M64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & M64
    return word ^ (word >> 31)


@pytest.mark.parametrize("word", [0, 1, 12345, 2**63, M64])
def test_mix_is_splitmix64(word):
    assert int(mix(np.array([word], dtype=np.uint64))[0]) == splitmix64(word)


@pytest.mark.parametrize("key", [(0, 0), (7, 3), (-1, 2**70 + 5)])
def test_a_token_hash_folds_seed_step_row_and_position(key):
    identity, position = np.array([5, 0, -2, 5]), np.array([0, 3, 1, 70_000])
    for row_id, place, found in zip(
        identity.tolist(), position.tolist(), token_hash(identity, position, key), strict=True
    ):
        word = splitmix64(key[0] & M64) ^ (key[1] & M64)
        word = splitmix64(word) ^ (row_id & M64)
        assert int(found) == splitmix64(splitmix64(word) ^ place)


def test_hashes_do_not_collide():
    rows, positions = np.divmod(np.arange(1_000_000), 500)
    assert len(np.unique(token_hash(rows, positions, (1, 2)))) == 1_000_000


@pytest.mark.parametrize("seed", range(20))
def test_top_by_score_against_sorting_by_hand(seed):
    draw = torch.Generator().manual_seed(seed)
    score = torch.randint(0, 4, (4, 5), generator=draw).float()  # many ties
    among = torch.rand(4, 5, generator=draw) > 0.3
    identity = torch.randperm(40, generator=draw)[:4]
    tokens = [(-float(score[r, t]), int(identity[r]), t, r) for r, t in among.nonzero().tolist()]
    for num in (0, 1, 7, 99):
        expected = {(r, t) for _, _, t, r in sorted(tokens)[:num]}
        chosen = top_by_score(score, among, num, identity)
        assert {tuple(token) for token in chosen.nonzero().tolist()} == expected


def test_a_draw_is_fair():
    """5 of 20 candidates over 1000 steps: each is drawn 250 times, give or take 5 standard deviations (13.7)."""
    among = torch.ones(5, 8, dtype=torch.bool)
    among[:, 4:] = False
    identity = torch.tensor([31, 4, 15, 92, 6])
    counts = sum(draw_by_hash(among, 5, identity, (0, step)).int() for step in range(1000))
    assert int(counts.sum()) == 5_000 and not counts[~among].any()
    assert (counts[among] - 250).abs().max() < 5 * (1000 * 0.25 * 0.75) ** 0.5


def test_draws_of_neighbouring_steps_and_seeds_are_unrelated():
    """Two draws of 5 of 20 share 1.25 tokens on average; the mean over 200 pairs stays within 5 standard errors."""
    among, identity = torch.ones(4, 5, dtype=torch.bool), torch.arange(4)

    def drawn(seed, step):
        return draw_by_hash(among, 5, identity, (seed, step))

    by_step = [int((drawn(7 * i, 13 * i) & drawn(7 * i, 13 * i + 1)).sum()) for i in range(200)]
    by_seed = [int((drawn(7 * i, 13 * i) & drawn(7 * i + 1, 13 * i)).sum()) for i in range(200)]
    for shared in (by_step, by_seed):
        assert sum(shared) / 200 == pytest.approx(1.25, abs=5 * 0.86 / 200**0.5)


def test_a_candidate_leaving_disturbs_no_other():
    """Whoever was drawn before is still drawn when an undrawn candidate goes away."""
    among, identity = torch.ones(4, 5, dtype=torch.bool), torch.arange(4)
    before = draw_by_hash(among, 6, identity, (3, 4))
    undrawn = (~before).nonzero()[0]
    fewer = among.clone()
    fewer[undrawn[0], undrawn[1]] = False
    assert torch.equal(draw_by_hash(fewer, 6, identity, (3, 4)), before)


def test_fewer_candidates_than_asked_are_all_taken():
    among = torch.tensor([[True, False], [False, True]])
    assert torch.equal(draw_by_hash(among, 9, torch.arange(2), (0, 0)), among)
    assert not draw_by_hash(~among & among, 9, torch.arange(2), (0, 0)).any()


def test_quota_of_an_empty_step_is_zero():
    assert quota(0.5, torch.zeros(2, 3, dtype=torch.bool)) == 0
