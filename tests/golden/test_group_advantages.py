"""The advantage and selection methods against what their authors' code gave for random batches (group_advantages.json).

Rewards, lengths and log-probs are the whole input: groups and tables are built by the host's side of the contract.
"""

import json
from pathlib import Path

import pytest
import torch

from forkpoint.batch import StepBatch
from forkpoint.methods import build

GOLDEN = json.loads((Path(__file__).parent / "group_advantages.json").read_text(encoding="utf-8"))
DOUBLE = torch.float64


def cases(name):
    return pytest.mark.parametrize("case", GOLDEN[name]["cases"], ids=lambda case: f"seed {case['seed']}")


def grouped(case, *, filled, logp_old=None):
    """A step of ``size`` answers per prompt; with ``filled`` each row brings its group along, as a host does."""
    reward = torch.tensor(case["reward"], dtype=DOUBLE)
    num, size = len(reward), case["size"]
    length = torch.tensor(case.get("length", [1] * num))
    old = torch.zeros(num, 1, dtype=DOUBLE) if logp_old is None else torch.tensor(logp_old, dtype=DOUBLE)
    mask = torch.arange(old.shape[1]) < length.unsqueeze(1)
    group = torch.arange(num) // size
    tables = {}
    if filled:
        mean = torch.where(mask, old, 0.0).sum(1) / mask.sum(1)
        tables = {"group_reward": reward.view(-1, size)[group], "group_logp": mean.view(-1, size)[group]}
    before = torch.tensor(case.get("before", [0.0] * num), dtype=DOUBLE)
    return StepBatch(old, old, mask, before, reward=reward, group=group, row_id=torch.arange(num), **tables)


def entropy_step(case):
    table = {name: torch.tensor(case[name], dtype=DOUBLE) for name in ("entropy", "logp", "logp_old") if name in case}
    mask = torch.tensor(case["mask"], dtype=torch.bool)
    nothing = torch.zeros_like(table["entropy"])
    return StepBatch(
        table.get("logp", nothing),
        table.get("logp_old", nothing),
        mask,
        torch.tensor(case.get("advantage", [1.0] * len(mask)), dtype=DOUBLE),
        entropy=table["entropy"],
    )


@cases("forking_tokens")
def test_forking_tokens_keep_the_authors_tokens_and_train_them_alike(case):
    step, method = entropy_step(case), build("forking_tokens", share=case["share"])
    plan = method.plan(step)
    assert ((plan.weight != 0) & step.mask).nonzero().tolist() == case["kept"]
    step.logp.requires_grad_()
    loss = method.step_loss(step)
    loss.backward()
    # their mean adds 1e-8 to its denominator
    assert float(loss.detach()) == pytest.approx(case["loss"], rel=1e-7)
    torch.testing.assert_close(step.logp.grad, torch.tensor(case["gradient"], dtype=DOUBLE), rtol=1e-7, atol=1e-12)


@cases("trl_mask")
def test_trl_keeps_the_same_tokens(case):
    """Of a whole step, at shares that are 1 / n: TRL takes what reaches an interpolated quantile, and we count."""
    step = entropy_step(case)
    plan = build("forking_tokens", share=case["share"], normalize="all").plan(step)
    assert ((plan.weight != 0) & step.mask).nonzero().tolist() == case["kept"]
    assert set(plan.weight.unique().tolist()) == {0.0, 1.0}, "and keeps all tokens in the denominator"


@cases("pass_at_k")
@pytest.mark.parametrize("filled", [True, False])
def test_pass_at_k(case, filled):
    step = grouped(case, filled=filled)
    plan = build("pass_at_k", k=case["k"]).plan(step)
    torch.testing.assert_close(
        plan.advantage[:, 0], torch.tensor(case["advantage"], dtype=DOUBLE), rtol=1e-10, atol=1e-12
    )
    per_prompt = plan.advantage[:, 0].view(-1, case["size"]).sum(1)
    torch.testing.assert_close(per_prompt, torch.zeros_like(per_prompt), rtol=0, atol=1e-9)


@cases("ucpo")
@pytest.mark.parametrize("filled", [True, False])
def test_ucpo(case, filled):
    step = grouped(case, filled=filled, logp_old=case["logp_old"])
    found = build("ucpo", tau=case["tau"]).plan(step).advantage[:, 0]
    torch.testing.assert_close(found, torch.tensor(case["after"], dtype=DOUBLE), rtol=1e-10, atol=1e-12)
    before = step.advantage.view(-1, case["size"]).sum(1)
    torch.testing.assert_close(found.view(-1, case["size"]).sum(1), before, rtol=0, atol=1e-12)
    assert bool((found != step.advantage).any()) == (case["tau"] > 0)


@cases("nsr")
def test_weighted_reinforce(case):
    """The authors' rewards stand on an answer's last token; its return is the same at each token."""
    step = grouped(case | {"size": 1}, filled=False, logp_old=[[0.0] * len(case["advantage"][0])] * len(case["reward"]))
    plan = build("nsr", positive=case["positive"]).plan(step)
    expected = torch.tensor(case["advantage"], dtype=DOUBLE)
    assert torch.equal(plan.advantage[step.mask], expected[step.mask]) and not expected[~step.mask].any()
    signed = build("nsr", positive=case["positive"])
    step.reward.mul_(2).sub_(1)
    assert torch.equal(signed.plan(step).advantage, plan.advantage), "rewards of -1 and 1 are read alike"


@cases("rank_shaping")
def test_rank_shaping(case):
    """Where the authors' code puts the bonus, on the last token, it is ours; ours is on every other token too."""
    advantage = torch.tensor(case["advantage"], dtype=DOUBLE)
    nothing, mask = torch.zeros(len(advantage), 3, dtype=DOUBLE), torch.ones(len(advantage), 3, dtype=torch.bool)
    rank = torch.nn.functional.pad(torch.tensor(case["rank"], dtype=DOUBLE), (0, 3))
    step = StepBatch(nothing, nothing, mask, advantage, rank=rank)
    found = build("rank_shaping", **case["settings"]).plan(step).advantage
    expected = torch.tensor(case["shaped"], dtype=DOUBLE)
    torch.testing.assert_close(found, expected.unsqueeze(1).expand(-1, 3), rtol=1e-9, atol=1e-12)
    assert (found[:, 0] != advantage).any() and torch.equal(found.sign(), advantage.unsqueeze(1).expand(-1, 3).sign())


# ---- printed numbers


def step_of(advantage, **fields):
    values = torch.tensor(advantage, dtype=DOUBLE)
    nothing = torch.zeros(len(values), 1, dtype=DOUBLE)
    return StepBatch(nothing, nothing, torch.ones_like(nothing, dtype=torch.bool), values, **fields)


@pytest.mark.parametrize(("share", "kept"), [(0.2, [[0, 1], [0, 4], [1, 1]]), (0.1, [[0, 1], [0, 4]])])
def test_eleven_tokens_of_two_answers(share, kept):
    entropy = [[0, 1.2, 0.01, 0.7, 2, 0.3], [0.05, 0.9, 0.001, 0.4, 0.6, 9.9]]
    step = entropy_step({"entropy": entropy, "mask": [[1] * 6, [1] * 5 + [0]]})
    weight = build("forking_tokens", share=share).plan(step).weight
    assert ((weight != 0) & step.mask).nonzero().tolist() == kept
    assert weight[0, 1] == pytest.approx(11 / len(kept), rel=1e-15)


@pytest.mark.parametrize(
    ("advantage", "entropy", "expected"), [(1, 0.5, 1.2), (1, 2, 1.5), (-1, 0.5, -0.8), (-1, 2, -0.5), (0.2, 1, 0.3)]
)
def test_entropy_advantage(advantage, entropy, expected):
    step = step_of([advantage], entropy=torch.tensor([[entropy]], dtype=DOUBLE))
    assert float(build("entropy_advantage").plan(step).advantage) == pytest.approx(expected, rel=1e-14)


def test_hicra():
    step = step_of([0.8, -0.5, 0.8], label=torch.tensor([[3], [3], [2]]))
    assert build("hicra", baseline="host").plan(step).advantage[:, 0].tolist() == pytest.approx([0.96, -0.4, 0.8])


@pytest.mark.parametrize(
    ("right", "k", "expected"),
    [
        (1, 4, (0.999998, -0.142857)),
        (2, 4, (0.522232, -0.174077)),
        (4, 4, (0.120385, -0.120385)),
        (2, 1, (1.732047, -0.577349)),
    ],
)
def test_pass_at_k_of_eight(right, k, expected):
    reward = torch.tensor([1.0] * right + [0.0] * (8 - right), dtype=DOUBLE)
    step = step_of([0.0] * 8, reward=reward, group_reward=reward.expand(8, 8))
    assert build("pass_at_k", k=k).plan(step).advantage[[0, -1], 0].tolist() == pytest.approx(expected, abs=6e-7)


def test_ucpo_weights():
    logp = torch.tensor([-120.0, -150.0, -90.0], dtype=DOUBLE) / 200
    mask = torch.ones(3, 200, dtype=torch.bool)
    old = logp.unsqueeze(1).expand(3, 200)
    one = torch.ones(3, dtype=DOUBLE)
    step = StepBatch(old, old, mask, one, reward=one, group_reward=one.expand(3, 3), group_logp=logp.expand(3, 3))
    found = build("ucpo").plan(step).advantage[:, 0].tolist()
    assert found == pytest.approx([0.998508, 1.030634, 0.970858], abs=6e-7)


@pytest.mark.parametrize(("advantage", "expected"), [(1.0, 1.197375), (-1.0, -0.802625), (0.2, 0.30), (0.0, 0.0)])
def test_rank_shaping_by_hand(advantage, expected):
    step = step_of([advantage], rank=torch.tensor([[60.0, 12.0, 4.0, 70.0, 12.0, 4.0]], dtype=DOUBLE))
    usual = {"mid_rank": 50.0, "mid_velocity": 10.0, "mid_acceleration": 3.0}
    assert float(build("rank_shaping", **usual).plan(step).advantage) == pytest.approx(expected, abs=6e-7)
