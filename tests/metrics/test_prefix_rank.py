"""Effective rank and its prefixes: the numbers of two small matrices, and the Gram route beside an SVD."""

import math

import pytest
import torch

from forkpoint.metrics._prefix_rank import (
    effective_rank,
    helmert_rows,
    iid_motion,
    iid_rank,
    motion,
    prefix_ranks,
    rank_statistics,
)

TOKENS, DIM = 240, 48


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def waves():
    t, j = torch.arange(13).double().unsqueeze(1), torch.arange(4).double()
    return torch.cos(0.5 * t * (j + 1)) + 0.1 * j * t


def dominant(states):
    return torch.cat([300 * states[:, :1], states[:, 1:]], dim=1)


STATES = {
    "random": draw(TOKENS, DIM),
    "more dimensions than tokens": draw(TOKENS, 512),
    "rank 5": draw(TOKENS, 5) @ draw(5, DIM, seed=1),
    "rank 5, wide": draw(TOKENS, 5) @ draw(5, 512, seed=1),
    "one direction 300 times the others": dominant(draw(TOKENS, DIM)),
    "the same, wide": dominant(draw(TOKENS, 512)),
    "spectrum down to 1e-17": draw(TOKENS, DIM) * torch.exp(-torch.arange(DIM) * 40 / DIM),
    "spectrum down to 1e-8, wide": draw(TOKENS, 512) * 10 ** (-torch.arange(512) * 8 / 512),
    "far from the origin": draw(TOKENS, DIM) + 1000,
    "bfloat16": (draw(TOKENS, DIM) + 5).bfloat16(),
    "two equal halves": torch.cat([draw(TOKENS // 2, DIM)] * 2),
}


def test_the_effective_rank_of_four_points():
    points = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0], [1.0, 1, 1]])
    assert effective_rank(points) == pytest.approx(2.600793, abs=1e-6)
    assert effective_rank(points, centered=False) == pytest.approx(2.814004, abs=1e-6)


def test_velocity_and_acceleration_of_four_waves():
    found = prefix_ranks(waves(), stride=3)
    assert found.tolist() == pytest.approx([2.327507, 3.820138, 3.748705, 3.758076], abs=1e-6)
    assert motion(found) == pytest.approx((0.875603, -0.516669), abs=1e-6)


@pytest.mark.parametrize("states", STATES.values(), ids=STATES)
def test_every_prefix_has_the_rank_that_an_svd_of_it_has(states):
    expected = [effective_rank(states[: n + 1]) for n in range(20, TOKENS, 20)]
    assert prefix_ranks(states, stride=20).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dim", [4, 20])
def test_the_first_helmert_rows_have_the_spectrum_of_the_centered_prefix(dim):
    """The identity behind it: W'W of n rows is the centered scatter of n + 1 states."""
    states = draw(9, dim)
    rows = helmert_rows(states)
    for n in range(2, 10):
        centered = states[:n] - states[:n].mean(0)
        torch.testing.assert_close(rows[: n - 1].T @ rows[: n - 1], centered.T @ centered)


def test_rotation_scale_and_offset_change_nothing_and_the_range_is_kept():
    states = draw(30, 8)
    rotation = torch.linalg.qr(draw(8, 8, seed=2)).Q
    for other in (states @ rotation, 1e6 * states, 1e-6 * states, states + 3):
        assert effective_rank(other) == pytest.approx(effective_rank(states), rel=1e-9)
    assert 1 <= effective_rank(states) <= 8
    assert effective_rank(draw(5, 8)) <= 4
    assert effective_rank(draw(30, 1) @ draw(1, 8)) == pytest.approx(1.0, abs=1e-6)
    # corners of a cross: all directions alike
    cross = torch.cat([torch.eye(8), -torch.eye(8)])
    assert effective_rank(cross) == pytest.approx(8.0)


def test_a_steady_climb():
    assert motion(torch.arange(10.0, 90.0, 10.0).double()) == pytest.approx((10 * (8 + 2) / 4, 10 / 2))


@pytest.mark.parametrize(
    ("length", "dim", "expected"),
    [(41, 512, 39.6), (81, 512, 78.4), (161, 512, 153.1), (321, 512, 288.9), (512, 512, 410.9)],
)
def test_independent_states_have_the_known_curve(length, dim, expected):
    assert iid_rank(length, dim) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("length", "dim", "percent"),
    [
        (41, 512, 0.1),
        (200, 64, 0.5),
        (65, 64, 0.5),
        (40, 64, 0.5),
        (10, 64, 0.5),
        (9, 8, 3.0),
        (5, 8, 3.0),
        (3, 8, 3.0),
    ],
)
def test_the_law_and_finite_draws_agree_as_stated(length, dim, percent):
    """The mean over draws lies below the law by no more than what the docstring says."""
    draws = [effective_rank(draw(length, dim, seed=seed)) for seed in range(60)]
    mean = sum(draws) / len(draws)
    noise = 3 * torch.tensor(draws).std().item() / math.sqrt(len(draws))
    assert mean - noise <= iid_rank(length, dim) <= (mean + noise) * (1 + percent / 100)


@pytest.mark.parametrize(("length", "dim", "stride"), [(56, 64, 5), (121, 64, 40), (100, 32, 8)])
def test_the_null_of_the_motion_is_that_of_finite_draws(length, dim, stride):
    """Of 60 draws, within three standard errors and half a percent of the rank that the law is off by."""
    draws = torch.tensor([motion(prefix_ranks(draw(length, dim, seed=seed), stride)) for seed in range(60)])
    noise = 3 * draws.std(0) / math.sqrt(len(draws)) + 0.005 * iid_rank(length, dim)
    null = torch.tensor(iid_motion(length, dim, stride))
    assert ((draws.mean(0) - null).abs() <= noise).all()


def test_the_null_of_a_steady_climb_by_hand():
    """In very many dimensions n + 1 states span n directions alike: the prefixes have ranks 40, 80, 120, 160."""
    assert iid_motion(161, 10**9) == pytest.approx((60.0, 20.0), rel=1e-3)


def test_statistics_of_rows_are_those_of_their_own_last_tokens():
    hidden = draw(3, 60, 16).float()
    mask = torch.ones(3, 60, dtype=torch.bool)
    mask[0, 50:] = False
    mask[1, ::2] = False
    found = rank_statistics(hidden, mask, stride=6, window=40)
    for row in range(3):
        states = hidden[row][mask[row]][-40:]
        assert found[row, 0].item() == pytest.approx(effective_rank(states), rel=1e-6)
        assert found[row, 1:3].tolist() == pytest.approx(motion(prefix_ranks(states, 6)), rel=1e-5)
        assert found[row, 3].item() == pytest.approx(iid_rank(len(states), 16), rel=1e-6)
        assert found[row, 4:].tolist() == pytest.approx(iid_motion(len(states), 16, 6), rel=1e-6)


def test_masked_states_and_the_order_and_cut_of_rows_never_matter():
    hidden, mask = draw(4, 30, 16).float(), torch.rand(4, 30, generator=torch.Generator().manual_seed(1)) < 0.7
    expected = rank_statistics(hidden, mask, stride=4)
    poisoned = torch.where(mask.unsqueeze(-1), hidden, torch.nan)
    assert torch.equal(rank_statistics(poisoned, mask, stride=4), expected)
    assert torch.equal(rank_statistics(hidden.flip(0), mask.flip(0), stride=4).flip(0), expected)
    assert torch.equal(rank_statistics(hidden[:1], mask[:1], stride=4), expected[:1])
    assert expected.isfinite().all()


def test_what_a_row_is_too_short_for_is_nan_and_never_zero():
    lengths = [0, 1, 2, 80, 81, 120, 121]
    mask = torch.arange(121) < torch.tensor(lengths).unsqueeze(1)
    found = rank_statistics(draw(7, 121, 4).float(), mask)
    known = [[bool(value.isfinite()) for value in row] for row in found]
    measured = [
        [False, False, False],
        [False, False, False],
        [True, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, False],
        [True, True, True],
    ]
    assert known == [row + row for row in measured], "the null is there exactly where there is something to compare"


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_state_that_is_not_finite_takes_its_row_and_no_other(poison):
    hidden, mask = draw(2, 30, 8).float(), torch.ones(2, 30, dtype=torch.bool)
    hidden[0, 3, 2] = poison
    found = rank_statistics(hidden, mask, stride=5)
    assert found[0].isnan().all() and found[1].isfinite().all()


def test_equal_states_have_no_effective_rank():
    assert math.isnan(effective_rank(torch.ones(5, 3)))
    assert prefix_ranks(torch.ones(5, 3), stride=2).isnan().all()


def test_no_rows_and_a_wrong_stride():
    assert rank_statistics(torch.zeros(0, 5, 3), torch.zeros(0, 5, dtype=torch.bool)).shape == (0, 6)
    with pytest.raises(ValueError, match="stride=0; give a number of tokens from 1"):
        prefix_ranks(draw(5, 3), stride=0)
