"""Kill a training run with SIGKILL, again and again, resume it, and hold its end against the unbroken run's.

    python -m tests.trainers.kills --random 200 --targeted 50 --out /tmp/kills

One process imports the libraries once and forks a child per attempt, so that a kill costs a second. A kill comes
``random`` (at any time of an attempt) or ``targeted`` (right after one of the calls by which the record and the
checkpoints reach the disk, or inside the trainer's own saving). Every attempt resumes from what the last one left.
With ``--broken NAME`` something that makes the resume exact is taken out, and the first run that ends differently, or
fails, is the last: there must be one.
Results are kept as they come in ``OUT/kills.jsonl``; a second call goes on after them.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CALLS = ("write", "fsync", "replace", "unlink")
ENOUGH = 120.0
"""seconds after which an attempt that was not killed has hung"""


class Kill(NamedTuple):
    """When an attempt dies; neither: it may finish."""

    after_seconds: float = 0.0
    after_calls: int = 0
    inside_save: float = 0.0
    """seconds after the beginning of some save of the trainer"""


class Trial(NamedTuple):
    """One run, killed until its kills are used up, and then finished."""

    config: str
    kind: str
    kills: int
    """kills that met a living process"""
    fault: str
    """empty where the end was that of the unbroken run"""


def main(
    *, random_kills: int = 12, targeted: int = 6, seed: int = 0, out: str = "kills", broken: str = ""
) -> list[Trial]:
    """Make the asked number of kills and return a ``Trial`` per run."""
    place = Path(out)
    place.mkdir(parents=True, exist_ok=True)
    if broken:
        return _control(place, broken, seed, tries=random_kills)
    done = _read(place / "kills.jsonl")
    for kind, wanted in (("random", random_kills), ("targeted", targeted)):
        # by number, not one generator for all: a second call goes on with the draws that the first would have made
        while sum(trial.kills for trial in done if trial.kind == kind) < wanted:
            number = sum(trial.kind == kind for trial in done)
            done.append(_trial(place, kind, number, random.Random(f"{seed} {kind} {number}")))
            with (place / "kills.jsonl").open("a") as file:
                file.write(json.dumps(done[-1]._asdict()) + "\n")
            _tell(f"{kind} {number}", done[-1])
    return done


def _control(place: Path, broken: str, seed: int, *, tries: int) -> list[Trial]:
    """Trials until one shows what is broken."""
    done: list[Trial] = []
    while len(done) < tries and not (done and done[-1].fault):
        draw = random.Random(f"{seed} {broken} {len(done)}")
        done.append(_trial(place, BREAKAGES[broken].kind, len(done), draw, broken=broken))
        _tell(f"{broken} {len(done)}", done[-1])
    return done


def _tell(which: str, trial: Trial) -> None:
    print(f"{which}: {trial.config}: {trial.kills} kills: {trial.fault or 'identical'}", file=sys.stderr, flush=True)


def _unbroken(place: Path, name: str, settings: dict[str, Any]) -> tuple[dict[str, str], float, int]:
    """(end, seconds, counted calls) of a run that nothing interrupts; kept in ``place`` for later calls."""
    folder = place / "whole" / name.replace(" ", "-").replace(",", "")
    if not (folder / "end-0.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        began = time.monotonic()
        if fault := _attempt(folder, settings, Kill(after_calls=10**9)):
            raise RuntimeError(f"{name}: the unbroken run failed: {fault}")
        (folder / "seconds").write_text(str(time.monotonic() - began))
    return _end(folder, settings), float((folder / "seconds").read_text()), int((folder / "calls").read_text())


def _trial(place: Path, kind: str, number: int, draw: random.Random, *, broken: str = "") -> Trial:
    """One run: killed up to three times, then left to finish, and compared."""
    from tests.trainers.resumable import CONFIGS

    # the calls of another process than the first are not counted
    names = [name for name in CONFIGS if (kind == "random" and not broken) or "processes" not in CONFIGS[name]]
    name = names[number % len(names)]
    settings, folder, kills = CONFIGS[name], place / "run", 0
    end, seconds, calls = _unbroken(place, name, settings)
    shutil.rmtree(folder, ignore_errors=True)
    for left in (3, 2, 1, 0):
        fault = _attempt(folder, settings, _drawn(kind, draw, seconds, calls) if left else Kill(), broken=broken)
        kills += fault == "killed"
        if fault != "killed":
            break
    if not fault:
        found = _end(folder, settings)
        fault = ", ".join(f"{part} differs" for part in end if found.get(part) != end[part])
    return Trial(name, kind, kills, fault)


def _drawn(kind: str, draw: random.Random, seconds: float, calls: int) -> Kill:
    if kind == "targeted":
        kind = "saving" if draw.random() < 0.3 else "calls"
    return {
        "random": Kill(after_seconds=draw.uniform(0.05, 1.0) * seconds),
        "calls": Kill(after_calls=draw.randint(1, calls)),
        "early": Kill(after_calls=draw.randint(1, 24)),
        "saving": Kill(inside_save=draw.uniform(0.001, 0.02)),
    }[kind]


def _attempt(folder: Path, settings: dict[str, Any], kill: Kill, *, broken: str = "") -> str:
    """Start or resume the run in children of this process: "" where it ended, "killed", or what went wrong."""
    processes, port = settings.get("processes", 1), _free_port()
    folder.mkdir(parents=True, exist_ok=True)

    def body() -> None:
        _child(folder, settings, kill, broken)

    children = [_forked(rank, processes, port, body) for rank in range(processes)]
    due = time.monotonic() + (kill.after_seconds or ENOUGH)
    statuses, killed = _wait(children, due)
    if killed and not kill.after_seconds:
        return f"hung for {ENOUGH:g} seconds"
    if killed or signal.SIGKILL in (os.WTERMSIG(status) for status in statuses if os.WIFSIGNALED(status)):
        return "killed"
    if not any(statuses):
        return ""
    logs = [(folder / f"log-{rank}").read_text(errors="replace").strip().splitlines() for rank in range(processes)]
    return next((log[-1] for log in logs if log), "died without a word")


def _wait(children: list[int], due: float) -> tuple[list[int], bool]:
    """(how each child ended by itself, whether time was up and the rest were killed); one that dies takes all along."""
    ended: dict[int, int] = {}
    while len(ended) < len(children) and not any(ended.values()) and time.monotonic() < due:
        time.sleep(0.002)
        for pid in set(children) - set(ended):
            found, status = os.waitpid(pid, os.WNOHANG)
            ended |= {pid: status} if found else {}
    left = set(children) - set(ended)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    for pid in left:
        os.waitpid(pid, 0)
    return list(ended.values()), bool(left) and not any(ended.values())


def _forked(rank: int, processes: int, port: int, body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if processes > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        body()
        code = 0
    finally:
        os._exit(code)


def _child(folder: Path, settings: dict[str, Any], kill: Kill, broken: str) -> None:
    """One attempt, in a process of its own."""
    rank = os.environ.get("RANK", "0")
    log = os.open(folder / f"log-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        from tests.trainers.resumable import end_of, make

        from forkpoint.trainers.trl import last_complete

        breakage = BREAKAGES[broken].make if broken else contextlib.nullcontext
        counted = _die_after(kill.after_calls) if kill.after_calls and rank == "0" else [0]
        with breakage():
            trainer = make(folder, resume=True, **settings)
            if kill.inside_save:
                _die_inside_save(trainer, kill.inside_save)
            trainer.train(resume_from_checkpoint=last_complete(folder / "host"))
        trainer.accelerator.end_training()
        (folder / "calls").write_text(str(counted[0]))
        (folder / f"end-{rank}.json").write_text(json.dumps(end_of(trainer)))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _die_after(calls: int) -> list[int]:
    """Kill this process after that many calls that reach the disk; returns the counter."""
    seen = [0]

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            finally:
                seen[0] += 1
                if seen[0] >= calls:
                    os.kill(os.getpid(), signal.SIGKILL)

        return wrapped

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))
    return seen


def _die_inside_save(trainer: Any, seconds: float) -> None:
    """Kill this process that long after a save has begun, which the trainer's own writing takes."""
    original = trainer._save_checkpoint

    def saving(*args: Any, **kwargs: Any) -> Any:
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return original(*args, **kwargs)

    trainer._save_checkpoint = saving


def _end(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """What every process ended with, and the record."""
    from tests.trainers.resumable import record_of

    ends = {"record": record_of(folder)}
    for rank in range(settings.get("processes", 1)):
        for part, digest in json.loads((folder / f"end-{rank}.json").read_text()).items():
            ends[f"{part} of process {rank}"] = digest
    return ends


def _read(path: Path) -> list[Trial]:
    return [Trial(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# ---- what must not be missing: each of these, taken out, has to show -------------------------------------------------


@contextlib.contextmanager
def _patched(owner: Any, name: str, value: Any) -> Any:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _no_random_states() -> Any:
    from transformers import Trainer

    return _patched(Trainer, "_load_rng_state", lambda self, checkpoint: None)


def _no_buffer() -> Any:
    from forkpoint.trainers import _trl_state

    put_back = _trl_state.put_back

    def without(trainer: Any, tensors: Any, values: dict[str, Any]) -> None:
        put_back(trainer, tensors, values | {"buffer": []})

    return _patched(_trl_state, "put_back", without)


def _in_place_writes() -> Any:
    from forkpoint.record import _files

    def write(path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            os.write(descriptor, half)
        os.close(descriptor)

    return _patched(_files, "atomic_write", write)


@contextlib.contextmanager
def _pointer_first() -> Any:
    """The checkpoint is declared complete when its saving begins, and is believed."""
    from transformers import Trainer

    from forkpoint.record import checkpoints

    save = Trainer._save_checkpoint

    def saving(self: Any, model: Any, trial: Any) -> None:
        complete = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}" / checkpoints.COMPLETE
        complete.parent.mkdir(parents=True, exist_ok=True)
        complete.write_text("complete")
        save(self, model, trial)

    def believed(folder: Path, run: Any = None) -> None:
        if not (Path(folder) / checkpoints.COMPLETE).exists():
            raise checkpoints.RecordError("is not complete", file=folder, remedy="")

    with _patched(Trainer, "_save_checkpoint", saving), _patched(checkpoints, "verify", believed):
        yield


class Breakage(NamedTuple):
    """What is taken out, and the kind of kill that has to show it."""

    make: Callable[[], Any]
    kind: str


BREAKAGES = {
    "no random states": Breakage(_no_random_states, "random"),
    "no rollout buffer": Breakage(_no_buffer, "random"),
    "writes in place": Breakage(_in_place_writes, "early"),
    "pointer first": Breakage(_pointer_first, "saving"),
}


def _warm() -> None:
    """Import what every child needs; nothing is computed here, since a fork after that would not be safe."""
    import warnings

    warnings.simplefilter("ignore")
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    import datasets  # noqa: F401
    import tests.trainers.resumable  # noqa: F401
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401

    _ = trl.GRPOTrainer, trl.GRPOConfig


if __name__ == "__main__":
    import tyro

    _warm()
    results = tyro.cli(main)
    faults = [trial for trial in results if trial.fault]
    print(json.dumps({"runs": len(results), "kills": sum(trial.kills for trial in results), "faults": faults}))
    sys.exit(bool(faults))
