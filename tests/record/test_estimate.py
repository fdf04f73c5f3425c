"""The disk a run takes is known before it is written."""

import pytest

from forkpoint.record import RunWriter
from forkpoint.record.estimate import TOKEN_BYTES, estimate_bytes
from forkpoint.record.schema import PER_TOKEN

STEPS, ROWS = 30, 6


@pytest.fixture
def completions() -> list[dict]:
    """What the shipped policy says, with its real log-probs and entropies."""
    pytest.importorskip("torch", reason="the train extra")
    from forkpoint.policies import load
    from forkpoint.tasks.countdown import countdown
    from forkpoint.trainers._evaluation import Evaluation, evaluate

    wanted = Evaluation(problems=STEPS * ROWS, samples=1)
    return evaluate(*load("tiny"), countdown(), wanted, keep=STEPS * ROWS).rollouts


def test_the_estimate_is_within_thirty_percent_of_a_real_run(create, completions):
    columns = [name for name in PER_TOKEN if completions[0].get(name) is not None]
    tokens = sum(len(row["token_ids"]) for row in completions) / len(completions)
    writer: RunWriter = create(definitions={f"metric {i}": {"unit": "nats", "about": "x" * 150} for i in range(80)})
    for step in range(1, STEPS + 1):
        rows = completions[(step - 1) * ROWS : step * ROWS]
        writer.rollouts([row | {"kind": "train", "step": step} for row in rows])
        writer.metrics("train", step, {f"entropy/reading{i}": (step * i) ** 0.5 for i in range(50)})
    writer.close()
    taken = sum(file.stat().st_size for file in writer.path.rglob("*") if file.is_file())
    estimated = estimate_bytes(STEPS, rows=ROWS, tokens=tokens, columns=columns)
    assert 0.7 < taken / estimated < 1.3, (taken, estimated)


def test_less_recorded_is_less_estimated():
    whole = estimate_bytes(100, rows=8, tokens=50)
    assert estimate_bytes(100, rows=8, tokens=50, text=False) < whole
    assert estimate_bytes(100, rows=8, tokens=50, columns=["entropy"]) < whole
    assert estimate_bytes(100, rows=0, tokens=0) < estimate_bytes(200, rows=0, tokens=0) < whole
    assert set(TOKEN_BYTES) == set(PER_TOKEN), "every column per token has its size"
