"""Numbers against oracles in float64, on what real steps hold and on what they should never hold.

-inf, inf, nan, denormals, both zeros, certainty, uniformity, one token, no token, all padding; bfloat16 to float64.
A *case* is one row of logits, one token's loss, one reading of a step or one selection, and ``CASES`` says how many of
each are checked. An oracle is Python or numpy and shares no code with what it checks.
"""

import math
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.conftest import counts
from thread_ranks import on_ranks

from forkpoint import catalog
from forkpoint.batch import Plan, Rows, StepBatch
from forkpoint.credit import _nth
from forkpoint.credit._select import draw_by_hash, kth_smallest, quantile, top_by_score
from forkpoint.metrics.covariance import covariance, token_covariance
from forkpoint.metrics.entropy_full import token_entropy

CASES = {
    "entropy": (800, 30_000),
    "entropy elsewhere": (200, 5_000),
    "kl": (300, 15_000),
    "loss": (3_200, 90_000),
    "selection": (300, 15_000),
    "quantile": (200, 10_000),
    "covariance": (100, 5_000),
}
"""in ``make test``, and in ``make campaign``"""
ROWS = 20
"""cases in one example of those that come as a table"""

EXTREMES = [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, -1e-310, 1e-45, -1e-40, 6e-8, 65504.0, -3e38, 1e30, -1e30]
M64 = 2**64 - 1
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
EPS = {dtype: torch.finfo(dtype).eps for dtype in DTYPES}


def checked(name, per_example=ROWS):
    """Enough examples for the promised number of cases."""
    few, many = CASES[name]
    return settings(
        max_examples=-(-counts(few, many) // per_example), suppress_health_check=list(HealthCheck), deadline=None
    )


def tables(elements, rows=ROWS, max_width=8):
    """(rows, width) float64 arrays."""
    shapes = st.tuples(st.just(rows), st.integers(1, max_width))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing()))


usual = st.floats(-40, 40)
anything = st.one_of(usual, usual, st.floats(-1e4, 1e4), st.sampled_from(EXTREMES))
dtypes = st.sampled_from(DTYPES)


def test_there_are_as_many_cases_as_promised():
    small, large = (sum(numbers) for numbers in zip(*CASES.values(), strict=True))
    assert small >= 2_000 and large >= 100_000


def close(found, expected, *, rel, abs):
    """Whether each number is the expected one: nan where it is nan, inf where it is inf, else within tolerance."""
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=rel, atol=abs, equal_nan=True)


# ---- entropy


def softmax(row):
    """p and ln p in Python floats; None where the row is no distribution."""
    if not len(row) or math.isnan(sum(row)) or max(row) in (math.inf, -math.inf):
        return None
    weight = [math.exp(x - max(row)) for x in row]
    total = math.fsum(weight)
    return [w / total for w in weight], [x - max(row) - math.log(total) for x in row]


def entropy_and_slope(row, temperature):
    """H and dH/dz = -p (ln p + H) / temperature."""
    if (found := softmax(row)) is None:
        return math.nan, [math.nan] * len(row)
    value = -math.fsum(p * lp for p, lp in zip(*found, strict=True) if p > 0)
    return value, [-p * (lp + value) / temperature if p > 0 else 0.0 for p, lp in zip(*found, strict=True)]


one_hot = st.tuples(st.integers(0, 7), st.sampled_from([5.0, -2.0, 1e4])).map(lambda hot: (*hot, -math.inf))
flat = st.sampled_from([0.0, -7.0, 1e4, -math.inf])


@st.composite
def logit_tables(draw):
    """Rows of anything, some of them certain, some uniform."""
    table = draw(tables(anything))
    for row in range(0, ROWS, 7):
        place, high, low = draw(one_hot)
        table[row] = low
        table[row, place % table.shape[1]] = high
    table[3] = draw(flat)
    return table


@checked("entropy")
@given(logit_tables(), dtypes, st.sampled_from([0.5, 1.0, 2.0]))
def test_entropy_and_its_gradient(table, dtype, temperature):
    logits = torch.tensor(table).to(dtype).requires_grad_()
    value = token_entropy(logits, temperature)
    value.sum().backward()
    # the oracle reads what the cast left, divided as token_entropy does: an overflow there is no distribution to it
    wide = logits.detach().to(torch.promote_types(dtype, torch.float32)) / temperature
    expected = [entropy_and_slope(row, temperature) for row in wide.double().tolist()]
    values, slopes = np.array([h for h, _ in expected]), np.array([slope for _, slope in expected])
    exact = dtype is torch.float64
    close(value.detach(), values, rel=1e-10 if exact else 1e-5, abs=1e-12 if exact else 2e-6)
    known = ~np.isnan(values)
    assert logits.grad[known].isfinite().all()
    rounding = max(EPS[dtype], 1e-10 if exact else 1e-5)
    close(logits.grad[known], slopes[known], rel=2 * rounding, abs=1e-12 if exact else max(2e-6, EPS[dtype] * 1e-2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@checked("entropy elsewhere")
@given(tables(usual, max_width=40))
def test_entropy_is_that_of_trl_and_of_torch(table):
    from trl.trainer.utils import entropy_from_logits

    logits = torch.tensor(table, dtype=torch.float32)
    ours = token_entropy(logits)
    torch.testing.assert_close(entropy_from_logits(logits), ours, rtol=1e-5, atol=5e-6)
    torch.testing.assert_close(torch.distributions.Categorical(logits=logits).entropy(), ours, rtol=1e-5, atol=5e-6)


# ---- KL estimators

ESTIMATORS = {
    "kl_k1": lambda d: -d,
    "kl_k2": lambda d: d * d / 2,
    "kl_k3": lambda d: math.expm1(d) - d if d < 700 else math.inf if d < math.inf else math.nan,
    "kl_abs": abs,
}


@checked("kl", per_example=len(ESTIMATORS))
@given(st.data(), tables(st.one_of(usual, usual, usual, st.sampled_from(EXTREMES)), rows=4), dtypes)
def test_kl_estimates(data, logp, dtype):
    logp_old = data.draw(hnp.arrays(np.float64, logp.shape, elements=usual))
    mask = torch.tensor(data.draw(hnp.arrays(np.bool_, logp.shape)))
    new, old = torch.tensor(logp).to(dtype), torch.tensor(logp_old).to(dtype)
    step = StepBatch(new, old, mask, torch.ones(4))
    differences = (new.double() - old.double())[mask].tolist()
    for name, formula in ESTIMATORS.items():
        terms = [formula(d) for d in differences]
        reading = catalog.get("metrics", name)(step)
        scale = sum(abs(term) for term in terms if math.isfinite(term))
        assert reading.count == len(terms)
        assert reading.sum == pytest.approx(sum(terms), rel=1e-12, abs=1e-12 * scale, nan_ok=True), name


# ---- losses

BOUNDS, ENTROPY = (0.2, 0.28), 1.5
BETAS, DUAL, TAUS = (0.5, 2.0), 10.0, (1.0, 2.0)


class Token(NamedTuple):
    """What an oracle reads: log-ratio, advantage, mark and log-prob; the (log-ratio, advantage) of its row's tokens."""

    d: float
    advantage: float
    mark: bool
    logp: float
    row: list[tuple[float, float]]

    @property
    def span(self):
        """How large the log-ratios are that a row's sum adds up; 0 where one is infinite, as the sum then is."""
        total = math.fsum(abs(d) for d, _ in self.row if not math.isnan(d)) if self.row else 0.0
        return total if math.isfinite(total) else 0.0


def ratio_of(d, dtype):
    """exp(d), inf where the dtype does not hold four times as much."""
    return math.exp(d) if d < math.log(torch.finfo(dtype).max / 4) else math.inf


def clip_loss(token, dtype):
    """-min(r A, clip(r) A) and its slope; None where the dtype does not hold them, or on a kink."""
    return clipped_at(token.d, token.advantage, dtype)


def clipped_at(d, advantage, dtype):
    if math.isnan(d) or any(abs(d - math.log(edge)) < 0.05 for edge in (1 - BOUNDS[0], 1 + BOUNDS[1])):
        return None
    ratio = ratio_of(d, dtype)
    if (advantage >= 0 and ratio > 1 + BOUNDS[1]) or (advantage <= 0 and ratio < 1 - BOUNDS[0]):
        return -min(max(ratio, 1 - BOUNDS[0]), 1 + BOUNDS[1]) * advantage, 0.0
    return None if math.isinf(ratio) else (-ratio * advantage, -ratio * advantage)


def clip_entropy_loss(token, dtype):
    found = clip_loss(token, dtype)
    return found and (found[0] - 0.1 * ENTROPY, found[1])


def marked_kl_loss(token, dtype):
    """-r A + 0.5 |d| [mark] and its slope."""
    d, advantage, mark = token.d, token.advantage, token.mark
    ratio = ratio_of(d, dtype)
    if math.isnan(d) or (advantage and math.isinf(ratio)) or (mark and math.isinf(d)):
        return None
    plain = -ratio * advantage if advantage else 0.0
    return (plain + 0.5 * abs(d), plain + 0.5 * ((d > 0) - (d < 0))) if mark else (plain, plain)


def clipped_weight_loss(token, dtype):
    """-clip(r) A log p and its slope."""
    if math.isnan(token.d):
        return None
    weight = min(max(ratio_of(token.d, dtype), 1 - BOUNDS[0]), 1 + BOUNDS[1]) * token.advantage
    return fitting(-weight * token.logp if weight else 0.0, -weight, dtype)


def preserved_clip_loss(token, dtype):
    """The ratio, beta times the bound past it, or the dual clip; less 0.1 log p on marked tokens."""
    d, bad, good = token.d, token.advantage < 0, token.advantage > 0
    edges = (1 - BOUNDS[0], 1 + BOUNDS[1], DUAL)
    if math.isnan(d) or any(abs(d - math.log(edge)) < 0.05 for edge in edges):
        return None
    weight = ratio_of(d, dtype)
    if bad and weight < edges[0]:
        weight = BETAS[0] * edges[0]
    elif good and weight > edges[1]:
        weight = BETAS[1] * edges[1]
    value = -min(weight, DUAL) * token.advantage if bad else -weight * token.advantage if good else 0.0
    slope = 0.0 if bad and weight > DUAL else value
    return fitting(value - 0.1 * token.logp, slope - 0.1, dtype) if token.mark else (value, slope)


def soft_gate_loss(token, dtype):
    """-(4 / tau) sigmoid(tau (r - 1)) A and its slope -4 sigmoid sigmoid(-) r A."""
    if math.isnan(token.d):
        return None
    tau = TAUS[0] if token.advantage > 0 else TAUS[1]
    ratio = math.exp(min(token.d, 300.0))
    fading = math.exp(-tau * (ratio - 1)) if ratio < 300 else 0.0
    value = 4 / tau / (1 + fading)
    return -value * token.advantage, -4 * fading / (1 + fading) ** 2 * ratio * token.advantage


def sequence_clip_loss(token, dtype):
    """The clipped surrogate at the mean log-ratio of the row."""
    total = row_sum([d for d, _ in token.row], token, dtype)
    return None if total is None else near_no_edge(total / len(token.row), token, dtype)


def trajectory_clip_loss(token, dtype):
    """The clipped surrogate at the row's sum, whose slope the mean over the row will divide by its length."""
    total = row_sum([d for d, _ in token.row], token, dtype)
    found = None if total is None else near_no_edge(total, token, dtype)
    return found and (found[0], len(token.row) * found[1])


def geometric_mean_loss(token, dtype):
    """-exp(mean x) A, x the log-ratio up to 0.4 where A > 0, down to -0.4 where A < 0; a clipped token has no slope."""
    total = row_sum([max(d, -0.4) if a < 0 else min(d, 0.4) if a > 0 else 0.0 for d, a in token.row], token, dtype)
    if total is None or not token.advantage:
        return None if total is None else (0.0, 0.0)
    toward = token.d if token.advantage > 0 else -token.d
    if abs(toward - 0.4) < 0.05 or math.isinf(ratio := ratio_of(total / len(token.row), dtype)):
        return None
    return -ratio * token.advantage, 0.0 if toward > 0.4 else -ratio * token.advantage


def row_sum(values, token, dtype):
    """None where it is nan, or where the dtype may lose it on the way."""
    told = [d for d, _ in token.row]
    if any(map(math.isnan, told)) or {math.inf, -math.inf} <= {*values} or token.span > torch.finfo(dtype).max / 4:
        return None
    return math.fsum(values)


def near_no_edge(d, token, dtype):
    """None where the rounding of the row's sum may decide on which side of a bound it is, or makes its exp another."""
    rounding = 4 * EPS[dtype] * token.span
    if any(abs(d - math.log(edge)) < 0.05 + rounding for edge in (1 - BOUNDS[0], 1 + BOUNDS[1])):
        return None
    return clipped_at(d, token.advantage, dtype)


def fitting(value, slope, dtype):
    return (value, slope) if abs(value) < torch.finfo(dtype).max / 4 else None


LOSSES = {
    "clip": (clip_loss, {"clip_low": BOUNDS[0], "clip_high": BOUNDS[1]}),
    "clip_entropy": (clip_entropy_loss, {"clip_low": BOUNDS[0], "clip_high": BOUNDS[1], "coef": 0.1}),
    "marked_kl": (marked_kl_loss, {"coef": 0.5}),
    "clipped_weight": (clipped_weight_loss, {"clip_low": BOUNDS[0], "clip_high": BOUNDS[1]}),
    "preserved_clip": (
        preserved_clip_loss,
        {"clip_low": BOUNDS[0], "clip_high": BOUNDS[1], "beta_low": BETAS[0], "beta_high": BETAS[1]}
        | {"dual_clip": DUAL, "positive_coef": 0.1},
    ),
    "soft_gate": (soft_gate_loss, {"tau_pos": TAUS[0], "tau_neg": TAUS[1]}),
    "sequence_clip": (sequence_clip_loss, {"clip_low": BOUNDS[0], "clip_high": BOUNDS[1]}),
    "trajectory_clip": (trajectory_clip_loss, {"clip_low": BOUNDS[0], "clip_high": BOUNDS[1]}),
    "geometric_mean": (geometric_mean_loss, {"clip_low": 0.4, "clip_high": 0.4}),
}
OF_ROWS = {"sequence_clip", "trajectory_clip", "geometric_mean"}
"""whose loss depends on the whole row, also on the tokens that the plan removes"""


def test_every_objective_has_an_oracle():
    assert set(LOSSES) == set(catalog.names("objectives"))


@checked("loss", per_example=len(LOSSES) * 12)
@given(st.data(), dtypes)
def test_losses_and_their_gradients(data, dtype):
    """Where the true loss and slope are numbers, ours are, whatever the masked and the other tokens hold."""
    log_ratio = st.one_of(usual, st.floats(-0.5, 0.5), st.sampled_from([0.0, 1e-7, 80.0, -80.0, 1e3, -1e3, *EXTREMES]))
    table = hnp.arrays(np.float64, (3, 4), elements=log_ratio, fill=st.nothing())
    # in the dtype first, and the old log-prob a whole number, so that the difference is what was drawn
    old = -torch.tensor(data.draw(hnp.arrays(np.int64, (3, 4), elements=st.integers(0, 16)))).to(dtype)
    logp = (old.double() + torch.tensor(data.draw(table))).to(dtype).requires_grad_()
    advantage = torch.tensor(
        data.draw(hnp.arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 1.0, -1.0, 2.5, -0.125])))
    ).to(dtype)
    mask, mark = (torch.tensor(data.draw(hnp.arrays(np.bool_, (3, 4)))) for _ in range(2))
    weight = torch.tensor(data.draw(hnp.arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 1.0, 0.5])))).to(
        dtype
    )
    entropy = torch.full((3, 4), ENTROPY, dtype=dtype).requires_grad_()
    for name, (oracle, options) in LOSSES.items():
        logp.grad = entropy.grad = None
        loss = catalog.get("objectives", name)(**options)(Rows(logp, old, mask, entropy), Plan(advantage, weight, mark))
        loss.sum().backward()
        log_ratio = logp.detach().double() - old.double()
        for place in np.ndindex(3, 4):
            trained = bool(mask[place]) and bool(weight[place] != 0)
            d, chosen = float(log_ratio[place]), mask[place[0]]
            row = list(zip(log_ratio[place[0]][chosen].tolist(), advantage[place[0]][chosen].tolist(), strict=True))
            token = Token(d, float(advantage[place]), bool(mark[place]), float(logp.detach()[place]), row)
            found = oracle(token, dtype) if trained else (0.0, 0.0)
            if found is None:
                continue
            scale, rel = float(weight[place]), EPS[dtype] * (16 + 4 * (token.span if name in OF_ROWS else abs(d)))
            told = f"{name} {dtype} {token}"
            assert float(loss.detach()[place]) == pytest.approx(scale * found[0], rel=rel, abs=rel), told
            assert float(logp.grad[place]) == pytest.approx(scale * found[1], rel=rel, abs=rel), told


# ---- selection, over one rank to three, with and without the bracket


@st.composite
def shared_scores(draw):
    """(scores, candidates, row numbers, cuts between ranks): few values, so that there are ties, and all extremes."""
    shape = draw(st.integers(0, 6)), draw(st.integers(1, 7))
    few = st.sampled_from([*EXTREMES, 1.0, 1.0, 2.0, -1.0, 0.5])
    zeros = st.sampled_from([0.0, -0.0, 0.0, -0.0, 1.0, math.nan])
    elements = draw(st.sampled_from([few, zeros, usual]))
    scores = draw(hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing()))
    among = draw(hnp.arrays(np.bool_, shape))
    numbers = draw(st.permutations(range(-3, 6)))[: shape[0]]
    cuts = sorted(draw(st.lists(st.integers(0, shape[0]), max_size=2)))
    return scores, among, numbers, [slice(*ends) for ends in zip([0, *cuts], [*cuts, shape[0]], strict=True)]


def over_ranks(parts, work):
    """``work(part, ranks)`` of every part, put together."""
    if len(parts) == 1:
        return [work(parts[0], None)]
    return on_ranks(len(parts), lambda ranks: work(parts[ranks.index], ranks))


brackets = st.sampled_from([{"SAMPLE": 2**14}, {"SAMPLE": 1, "SLACK": 0}, {"SAMPLE": 4, "SLACK": 1, "DEVIATIONS": 0.0}])
"""none for so few scores, and two of such small samples and so narrow that they often mislead"""


@checked("selection", per_example=2)
@given(shared_scores(), st.integers(0, 30), dtypes, brackets)
def test_the_highest_scores_and_the_drawn_are_those_of_a_sort(shared, num, dtype, bracket):
    scores, among, numbers, parts = shared
    score, among, identity = (
        torch.tensor(scores).to(dtype),
        torch.tensor(among),
        torch.tensor(numbers, dtype=torch.long),
    )
    tokens = [(r, t) for r, t in among.nonzero().tolist()]
    ranked = sorted((-float(score[r, t]), numbers[r], t, r) for r, t in tokens if not math.isnan(score[r, t]))
    drawn = sorted((signed_hash(numbers[r], t, (5, 9)), r, t) for r, t in tokens)

    def top(part, ranks):
        return top_by_score(score[part], among[part], num, identity[part], ranks)

    def draw(part, ranks):
        return draw_by_hash(among[part], num, identity[part], (5, 9), ranks)

    with patch.multiple(_nth, **bracket):
        assert places(over_ranks(parts, top)) == {(r, t) for *_, t, r in ranked[:num]}
        assert places(over_ranks(parts, draw)) == {(r, t) for _, r, t in drawn[:num]}


def places(masks):
    return {tuple(place) for place in torch.cat(masks).nonzero().tolist()}


def signed_hash(row, position, key):
    """The published SplitMix64 in Python's own integers, folded over four words; its 64 bits read as int64."""
    word = splitmix64(key[0]) ^ key[1]
    for part in (row, position):
        word = splitmix64(word) ^ (part & M64)
    return (splitmix64(word) ^ 2**63) - 2**63


def splitmix64(word):
    word = (word + 0x9E3779B97F4A7C15) & M64
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & M64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & M64
    return word ^ (word >> 31)


@checked("quantile", per_example=2)
@given(shared_scores(), st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.99, 1.0]) | st.floats(0, 1), dtypes, brackets)
def test_a_quantile_is_numpys_and_the_k_th_is_that_of_a_sort(shared, q, dtype, bracket):
    scores, among, _, parts = shared
    score, among = torch.tensor(scores).to(dtype), torch.tensor(among)
    values = sorted(score[among].double().tolist())
    numbers = sorted(value for value in values if not math.isnan(value))

    def at(part, ranks):
        return quantile(score[part], among[part], q, ranks)

    def middle(part, ranks):
        return kth_smallest(score[part], among[part], 1 + len(numbers) // 2, ranks)

    with patch.multiple(_nth, **bracket):
        found = over_ranks(parts, at)
        if numbers and len(numbers) // 2 < len(numbers):
            assert set(over_ranks(parts, middle)) == {numbers[len(numbers) // 2]}
    assert len({str(value) for value in found}) == 1, "every rank has the same"
    if not values or len(numbers) < len(values):
        assert math.isnan(found[0])
    elif all(map(math.isfinite, values)):
        assert found[0] == pytest.approx(float(np.quantile(values, q)), rel=1e-12, abs=1e-300)


# ---- covariance


@checked("covariance", per_example=1)
@given(st.data(), shared_scores(), dtypes)
def test_covariance_over_ranks(data, shared, dtype):
    scores, mask, numbers, parts = shared
    advantage = torch.tensor(data.draw(hnp.arrays(np.float64, len(numbers), elements=usual))).to(dtype)
    logp, mask, identity = torch.tensor(scores).to(dtype), torch.tensor(mask), torch.tensor(numbers, dtype=torch.long)
    step = StepBatch(logp, logp, mask, advantage)
    x = logp[mask].double().numpy()
    y = advantage.unsqueeze(1).expand_as(logp)[mask].double().numpy()
    finite = bool(np.isfinite(x).all())
    with np.errstate(all="ignore"):
        spans = np.abs(x).max(initial=0) * np.abs(y).max(initial=0) if finite else math.nan
        expected = (x - x.mean()) * (y - y.mean()) if len(x) else x
        mean = expected.mean() if len(x) else math.nan
    assert covariance(step).value == pytest.approx(
        mean if finite else math.nan, rel=1e-9, abs=1e-12 * spans, nan_ok=True
    )

    def tokens(part, ranks):
        return token_covariance(
            StepBatch(logp[part], logp[part], mask[part], advantage[part], row_id=identity[part], ranks=ranks)
        )

    whole = torch.cat(over_ranks(parts, tokens))
    assert not whole[~mask].any()
    if finite:
        close(whole[mask], expected, rel=1e-9, abs=1e-12 * spans)
    else:
        assert not whole[mask].isfinite().all()
