"""What looks at the whole step does not depend on how the step was cut: into micro-batches, over ranks, or both.

    python -m torch.distributed.run --nproc_per_node 2 tests/laws/test_scope.py

runs the cases on processes instead of threads; one test here starts it.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
import torch
from random_steps import differentiable, padded, poisoned, random_step, selected
from thread_ranks import on_ranks
from torch import Tensor

from forkpoint import catalog
from forkpoint.batch import Plan, Ranks, Rows, StepBatch, Total
from forkpoint.credit import is_row_local, per_micro_batch
from forkpoint.methods import Method, build

NAMES = [name for name in catalog.names("methods") if build(name).credit]
"""methods that plan"""
WIDE = [name for name in NAMES if not all(map(is_row_local, build(name).credit))]
"""those that look beyond the row"""
TIMED = [name for name in NAMES if "at" in build(name).settings]
"""those that may read the policy that sampled instead of the one in training"""
NUMBERLESS = {"entrocraft"}
"""those that count tokens and choose none, so that no tie is ever settled by a row's number"""
AT = ("update", "rollout")
CUTS = (1, 2, 16)
"""micro-batches that 16 rows are cut into"""
SEEDS = range(5)
KEY = (11, 3)

every_method = pytest.mark.parametrize("name", NAMES)
every_wide_method = pytest.mark.parametrize("name", WIDE)
every_timed_method = pytest.mark.parametrize("name", TIMED)
every_pair = [(name, at) for name in NAMES for at in (AT if name in TIMED else AT[:1])]
every_method_and_time = pytest.mark.parametrize(("name", "at"), every_pair)
every_wide_method_and_time = pytest.mark.parametrize(("name", "at"), [pair for pair in every_pair if pair[0] in WIDE])
every_cut = pytest.mark.parametrize("num_parts", CUTS)


@cache
def lively(name: str, at: str = "update") -> Method:
    """The method with its doses raised, so that a step of a hundred tokens shows what it does."""
    doses = {"share": 0.1, "low": 0.3} | getattr(import_module(f"forkpoint.methods.{name}"), "LIVELY", {}) | {"at": at}
    return build(name, **{k: v for k, v in doses.items() if k in build(name).settings})


def step_of(seed: int) -> StepBatch:
    return random_step(seed, num_rows=16, num_tokens=12)


def share(step: StepBatch, seed: int, index: int, num_ranks: int) -> Tensor:
    """The rows of one rank, in any order; every second time one rank has five short answers, the other the long."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
    if num_ranks == 1:
        return order
    lengths = step.mask.sum(1)[order]
    by_length = order[lengths.argsort()]
    return (by_length.split([5, 11]) if seed % 2 else order.split([8, 8]))[index]


def planned_and_trained(method: Method, step: StepBatch, total: Total, num_parts: int) -> tuple[Tensor, Tensor]:
    """The tokens that the plan treats specially, and d loss / d logp from one backward pass per micro-batch."""
    step = differentiable(step)
    plan = method.plan(step, key=KEY)
    for part in torch.arange(len(step.mask)).chunk(num_parts):
        rows = step.rows(part)
        method.loss(Rows(rows.logp, rows.logp_old, rows.mask, rows.entropy), plan.rows(part), total).backward()
    assert step.logp.grad is not None
    return selected(step, plan), step.logp.grad


def check(name: str, at: str, seed: int, num_parts: int, ranks: Ranks | None = None, num_ranks: int = 1) -> int:
    """That this rank's share of the step, cut into parts, is treated as in the whole step; how many tokens it chose."""
    method, step = lively(name, at), step_of(seed)
    index = ranks.index if ranks else 0
    mine = share(step, seed, index, num_ranks)
    # padded further than the whole step is, and each rank differently
    local = replace(poisoned(padded(step.rows(mine), num_rows=0, num_tokens=2 + index)), ranks=ranks)
    chosen, gradient = planned_and_trained(method, step, Total.of(step.mask), 1)
    found, slope = planned_and_trained(method, local, Total.of(step.mask), num_parts)
    assert torch.equal(found[:, :12], chosen[mine]), f"{name}, {at}, seed {seed}, {num_parts} parts: other tokens"
    torch.testing.assert_close(slope[:, :12], gradient[mine], rtol=1e-5, atol=0)
    assert not found[:, 12:].any() and not slope[:, 12:].any()
    return int(found.sum())


def cases() -> Iterator[tuple[str, str, int, int]]:
    return ((*pair, seed, num_parts) for pair, seed, num_parts in product(every_pair, SEEDS, CUTS))


@every_method_and_time
@every_cut
def test_micro_batches_choose_and_train_as_the_step_does(name: str, at: str, num_parts: int):
    assert sum(check(name, at, seed, num_parts) for seed in SEEDS) > len(SEEDS), "and they do choose"


@every_method_and_time
@every_cut
def test_ranks_choose_and_train_as_the_step_does(name: str, at: str, num_parts: int):
    def work(ranks: Ranks) -> list[int]:
        return [check(name, at, seed, num_parts, ranks, 2) for seed in SEEDS]

    chosen = on_ranks(2, work)
    assert all(sum(counts) > 0 for counts in chosen), "both ranks choose"


@pytest.mark.slow
def test_processes_choose_and_train_as_the_step_does(tmp_path: Path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", __file__]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{len(list(cases()))} cases" in done.stdout


@every_wide_method_and_time
def test_selecting_inside_each_micro_batch_differs(name: str, at: str):
    """The negative control of micro-batches: were it the same, the laws above would prove nothing."""
    method, parts = lively(name, at), torch.arange(16).chunk(2)
    narrow = replace(method, credit=tuple(per_micro_batch(rule, *parts) for rule in method.credit))
    steps = [step_of(seed) for seed in SEEDS]
    differs = [not same_plan(narrow.plan(step, key=KEY), method.plan(step, key=KEY)) for step in steps]
    assert sum(differs) > len(SEEDS) // 2


@every_wide_method_and_time
def test_ranks_that_do_not_meet_differ(name: str, at: str):
    """The negative control of ranks."""
    method = lively(name, at)

    def differs(seed: int) -> bool:
        step, mine = step_of(seed), share(step_of(seed), seed, 0, 2)
        return not same_plan(method.plan(step.rows(mine), key=KEY), method.plan(step, key=KEY).rows(mine))

    assert sum(map(differs, SEEDS)) > len(SEEDS) // 2


@every_timed_method
def test_at_rollout_todays_log_probs_are_not_read(name: str):
    method, step = lively(name, "rollout"), step_of(0)
    assert method.plans_at == "rollout" and lively(name).plans_at == "update"
    nowhere = replace(step, logp=torch.full_like(step.logp, torch.nan))
    assert same_plan(method.plan(nowhere, key=KEY), method.plan(step, key=KEY))


@every_timed_method
def test_at_update_and_at_rollout_are_one_on_policy_and_two_off(name: str):
    on_policy, off_policy = random_step(0, 16, 12, on_policy=True), step_of(0)
    now, then = lively(name), lively(name, "rollout")
    assert same_plan(now.plan(on_policy, key=KEY), then.plan(on_policy, key=KEY))
    assert not same_plan(now.plan(off_policy, key=KEY), then.plan(off_policy, key=KEY))


def test_a_rule_that_has_not_said_so_is_given_no_ranks():
    def local(step: StepBatch, plan: Plan, key: tuple[int, int]) -> Plan:
        return plan

    method = replace(lively(NAMES[0]), credit=(*lively(NAMES[0]).credit, local))
    assert lively(NAMES[0]).sharded and not method.sharded and method.plans_at == "update"
    assert same_plan(method.plan(step_of(0)), lively(NAMES[0]).plan(step_of(0)))
    with pytest.raises(ValueError, match="steps held whole: gather the rows"):
        on_ranks(2, lambda ranks: method.plan(replace(step_of(0), ranks=ranks)))


@pytest.mark.parametrize("name", sorted({*WIDE} - NUMBERLESS))
def test_rows_without_numbers_are_refused_over_ranks(name: str):
    with pytest.raises(ValueError, match="row_id is not filled"):
        on_ranks(2, lambda ranks: lively(name).plan(replace(step_of(ranks.index), row_id=None, ranks=ranks)))


@every_method
def test_the_loss_of_a_share_needs_the_total_of_the_step(name: str):
    step = step_of(0)
    shares = [step.rows(share(step, 0, index, 2)) for index in range(2)]

    def work(ranks: Ranks) -> float:
        mine = replace(shares[ranks.index], ranks=ranks)
        with pytest.raises(ValueError, match="pass the Total of all of them"):
            lively(name).step_loss(mine, key=KEY)
        return float(lively(name).step_loss(mine, key=KEY, total=lively(name).total(step.mask)))

    assert sum(on_ranks(2, work)) == pytest.approx(float(lively(name).step_loss(step, key=KEY)), rel=1e-5)


@every_wide_method_and_time
def test_a_rank_without_tokens_takes_part(name: str, at: str):
    """Its rows are all padding, or it has none at all: the others choose as if it were not there."""
    method, step = lively(name, at), step_of(1)
    whole = method.plan(step, key=KEY)
    for absent in (step.rows(slice(0, 0)), replace(step, mask=torch.zeros_like(step.mask))):

        def work(ranks: Ranks, absent: StepBatch = absent) -> Plan:
            return method.plan(replace(step if ranks.index else absent, ranks=ranks), key=KEY)

        nothing, all_of_it = on_ranks(2, work)
        assert same_plan(nothing, Plan.neutral(absent)) and same_plan(all_of_it, whole)


@every_wide_method
def test_what_ranks_exchange_does_not_grow_with_the_step(name: str):
    """Kilobytes for 2 x 2,000 tokens as for 2 x 200,000; a gather of the scores alone would be 3.2 MB."""

    def sent(num_rows: int) -> int:
        def work(ranks: Ranks) -> int:
            step = random_step(ranks.index, num_rows, 1000)
            step = replace(step, row_id=torch.arange(num_rows) * 2 + ranks.index, ranks=ranks)
            build(name).plan(step, key=KEY)
            return ranks.num_bytes

        first, second = on_ranks(2, work)
        assert first == second
        return first

    assert sent(4) < 16_384 and sent(400) < 32_768


def same_plan(one: Plan, other: Plan) -> bool:
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("advantage", "weight", "mark"))


def run_cases(ranks: Ranks, say: Callable[[str], None]) -> None:
    """Every case on this rank; an AssertionError ends the process."""
    counts = [check(*case, ranks, 2) for case in cases()]
    if ranks.index == 0:
        say(f"{len(counts)} cases, {sum(counts)} tokens chosen here")


if __name__ == "__main__":
    import torch.distributed

    from forkpoint.trainers._ranks import ProcessRanks

    torch.distributed.init_process_group("gloo")
    run_cases(ProcessRanks(), print)
    torch.distributed.destroy_process_group()
