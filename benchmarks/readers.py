"""Do readers disturb the writer, and does any reader see what was never written? One writer, eight readers.

    python -m benchmarks.readers --seconds 600

The writer writes steps at the pace of training, in windows that take turns: no reader; all of them on a copy of the
run, which loads the machine the same and touches none of the writer's files; all of them on the run itself. Readers
read everything there is, over and over, and check it: a step's values follow from its number, steps never go back.
Between two reads of the whole a reader waits ``--pause`` seconds: 1.0, the pace of a viewer, is what the promise is
about; with 0 it reads as fast as it can, so that readers and writer compete for the cores. Prints how often they read,
what was wrong, and the writer's CPU seconds per step beside readers of the run over those alone, and beside readers of
the copy.
"""

import multiprocessing
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._result import save
from forkpoint.record import RecordError, RunWriter, open_run

TOKENS = 40
WINDOWS = ("alone", "copy", "run")
ROWS = 16


def main(seconds: float = 600, readers: int = 8, pace: float = 0.1, windows: int = 30, pause: float = 1.0) -> None:
    """Write for ``seconds``, a step every ``pace`` seconds, in ``windows`` of equal length with and without readers.

    Each reader waits ``pause`` seconds between two reads of the whole run; 0 reads as fast as it can.
    """
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "run"
        result = measure(path, seconds=seconds, readers=readers, pace=pace, windows=windows, pause=pause)
    print(f"{result['reads']} reads of the run, {len(result['faults'])} faults", *result["faults"][:3], sep="\n")
    for other in ("alone", "copy"):
        ratios = [run / before for run, before in zip(result["run"], result[other], strict=True)]
        told = f"{median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}] of {len(ratios)} triples"
        print(f"writer's CPU time per step, readers on the run over {other}: {told}")
    print(save("readers", {"question": "do readers disturb the writer", "pause": pause, **result}))


def measure(path: Path, *, seconds: float, readers: int, pace: float, windows: int, pause: float) -> dict[str, Any]:
    """The writer's CPU seconds per step in each window, and what the readers found."""
    context = multiprocessing.get_context("spawn")
    stop, mode, found = context.Event(), context.Value("i", 0), context.Queue()
    method = {"name": "grpo", "settings": {}, "intervenes": False}
    about: dict[str, Any] = {"name": "n", "config": {}, "method": method, "task": "t", "seed": 0, "definitions": {}}
    writer, copy = RunWriter.create(path, **about), path.with_name("copy")
    others = [context.Process(target=read, args=(path, copy, stop, mode, found, pause)) for _ in range(readers)]
    for other in others:
        other.start()
    spent: dict[str, list[float]] = {window: [] for window in WINDOWS}
    step = 0
    for number in range(windows // len(WINDOWS) * len(WINDOWS)):
        mode.value = number % len(WINDOWS)
        if WINDOWS[mode.value] == "copy":
            shutil.copytree(path, copy / str(number))
        end, first, before = time.monotonic() + seconds / windows, step, time.process_time()
        while time.monotonic() < end:
            step += 1
            write(writer, step)
            time.sleep(pace)
        spent[WINDOWS[mode.value]].append((time.process_time() - before) / (step - first))
    writer.close()
    mode.value = WINDOWS.index("run")
    stop.set()
    reports = [found.get(timeout=300) for _ in others]
    for other in others:
        other.join()
    faults = [fault for report in reports for fault in report["faults"]]
    return {**spent, "steps": step, "reads": sum(report["reads"] for report in reports), "faults": faults}


def write(writer: RunWriter, step: int) -> None:
    writer.rollouts([row(step, sample) for sample in range(ROWS)])
    writer.metrics("train", step, values(step))


def values(step: int) -> dict[str, float]:
    return {f"key{i}": step + i / 7 for i in range(40)}


def row(step: int, sample: int) -> dict[str, Any]:
    numbers = [((step * 31 + sample * 7 + i) % 64) / 64 for i in range(TOKENS)]  # exact in float32
    return {"kind": "train", "step": step, "sample": sample, "text": f"{step}:{sample}", "entropy": numbers}


def read(path: Path, copy: Path, stop: Any, mode: Any, found: Any, pause: float) -> None:
    """Read everything again and again; what is wrong goes into ``found`` as text, with how often the run was read."""
    faults: list[str] = []
    reads = newest = 0
    while not stop.is_set() or not reads:
        window = WINDOWS[mode.value]
        try:
            if window == "run":
                run = open_run(path)
                faults += looked_at(run, newest)
                newest, reads = max(newest, run.steps), reads + 1
            elif window == "copy" and (
                copies := sorted(copy.glob("*/run.json"), key=lambda file: file.stat().st_ctime)
            ):
                faults += looked_at(open_run(copies[-1].parent), 0)
        except RecordError as error:
            faults += [str(error)] if window == "run" else []  # a copy of a run being written may be of no one moment
        stop.wait(max(pause, 0.01 if window == "alone" else 0.0))
    found.put({"reads": reads, "faults": faults})


def looked_at(run: Any, newest: int) -> Iterator[str]:
    """What cannot be: a step that was there and is not, a gap, a value that does not follow from its step."""
    metrics, rollouts = run.metrics("train"), run.rollouts()
    if [line["step"] for line in metrics] != list(range(1, len(metrics) + 1)) or len(metrics) < newest:
        yield f"steps {len(metrics)} after {newest}"
    for line in metrics:
        if {key: line[key] for key in values(0)} != values(line["step"]):
            yield f"values of step {line['step']}"
    for number, seen in enumerate(rollouts):
        wanted = row(number // ROWS + 1, number % ROWS)
        if {key: seen[key] for key in wanted} != wanted:
            yield f"row {number}"


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
