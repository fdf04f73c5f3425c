"""Readers beside a writer at work: only whole rows, and never fewer than before."""

import subprocess
import sys
from pathlib import Path

from small_run import rollout, write_steps

from forkpoint.record import _rollouts, open_run

STEPS = 120
WRITER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from small_run import rollout
from forkpoint.record import RunWriter
method = {{"name": "grpo", "settings": {{}}, "intervenes": False}}
with RunWriter.create(sys.argv[1], name="n", config={{}}, method=method, task="t", seed=0, definitions={{}},
                      part_every=5, sync=False) as writer:
    print("created", flush=True)
    for step in range(1, {STEPS} + 1):
        writer.metrics("train", step, {{f"key{{i}}": step + i / 7 for i in range(40)}})
        writer.rollouts([rollout(step, sample) for sample in range(3)])
"""


def test_a_reader_sees_whole_rows_in_order_and_never_fewer(tmp_path):
    path = tmp_path / "live"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "created\n"
        seen, looks = (0, 0), 0
        while writer.poll() is None:
            seen, looks = look(path, seen), looks + 1
    assert writer.returncode == 0 and looks > 1
    assert look(path, seen) == (STEPS, 3 * STEPS)


def test_a_part_committed_while_a_reader_reads_hides_nothing(create, monkeypatch):
    """The worst moment: between the reader's look at the tail and its look at the manifest, whichever comes first."""
    writer = create(part_every=2)
    write_steps(writer, range(1, 2))
    committed = []

    def commit_after(read):
        def reads(*arguments):
            found = read(*arguments)
            if not committed:
                committed.append(True)
                write_steps(writer, range(2, 5))
            return found

        return reads

    monkeypatch.setattr(_rollouts._files, "read_lines", commit_after(_rollouts._files.read_lines))
    monkeypatch.setattr(_rollouts, "read_manifest", commit_after(_rollouts.read_manifest))
    assert len(open_run(writer.path).rollouts()) >= 2, "the rows that were there before"
    assert committed and len(open_run(writer.path).rollouts()) == 8


def look(path: Path, before: tuple[int, int]) -> tuple[int, int]:
    run = open_run(path)
    metrics, rollouts = run.metrics("train"), run.rollouts()
    assert [row["step"] for row in metrics] == list(range(1, len(metrics) + 1))
    assert all(row["key39"] == row["step"] + 39 / 7 for row in metrics)
    wanted = [(step, sample) for step in range(1, STEPS + 1) for sample in range(3)]
    assert [(row["step"], row["sample"]) for row in rollouts] == wanted[: len(rollouts)]
    assert all(row["text"] == rollout(row["step"], 0)["text"] for row in rollouts)
    assert len(metrics) >= before[0] and len(rollouts) >= before[1]
    return len(metrics), len(rollouts)
