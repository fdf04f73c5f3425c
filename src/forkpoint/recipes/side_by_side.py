"""Run several trainings next to each other, each as the command a user types, and keep those already done."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from forkpoint import __version__
from forkpoint.config import RunConfig
from forkpoint.record.read import open_run

Show = Callable[[Sequence[RunConfig]], None]


class ArmFailed(RuntimeError):
    """An arm stopped early; the message names its log."""


def side_by_side(configs: Sequence[RunConfig], *, show: Show | None = None, at_once: int | None = None) -> None:
    """Train every config that is not done yet, ``at_once`` at a time (one per two cores' thread, so 2 by default).

    ``show`` is called about once a second with all configs. Raises ArmFailed, naming the arm's log; what the other
    arms finished stays, and a second call goes on from there.
    """
    at_once = at_once or min(2, os.cpu_count() or 1)
    waiting = [config for config in configs if not is_done(config)]
    running: list[tuple[RunConfig, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                config = waiting.pop(0)
                running.append((config, _start(config)))
            if show is not None:
                show(configs)
            time.sleep(0.5)
            for config, process in [pair for pair in running if pair[1].poll() is not None]:
                running.remove((config, process))
                if process.returncode != 0:
                    raise ArmFailed(_last_words(config, process.returncode))
    finally:
        for _, process in running:
            process.terminate()
            process.wait()


def is_done(config: RunConfig) -> bool:
    """Whether the folder holds a finished run of these settings by this version; where it lies does not matter."""
    return _began(config) and open_run(config.folder).status["state"] == "done"


def _began(config: RunConfig) -> bool:
    """Whether the folder holds a run of these settings by this version, finished or not."""
    if not (config.folder / "run.json").exists():
        return False
    header = open_run(config.folder).header
    return header["forkpoint"] == __version__ and _decides(header["config"]) == _decides(config.model_dump())


def _decides(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("out", "overwrite", "resume")}


def _stored(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"resume": True} if _began(config) else {"overwrite": True})


def _start(config: RunConfig) -> "subprocess.Popen[bytes]":
    config.folder.parent.mkdir(parents=True, exist_ok=True)
    path = _beside(config, ".yaml")
    path.write_text(yaml.safe_dump(_stored(config).model_dump(), sort_keys=False))
    with _beside(config, ".log").open("wb") as log:
        command = [sys.executable, "-m", "forkpoint", "train", "--config", str(path)]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _beside(config: RunConfig, ending: str) -> Path:
    # not with_suffix: share-0.02 and share-0.04 would share a file
    return config.folder.with_name(config.folder.name + ending)


def _last_words(config: RunConfig, code: int) -> str:
    log = _beside(config, ".log")
    lines = log.read_text(errors="replace").strip().splitlines() or [""]
    return f"{config.title} stopped with exit code {code} ({lines[-1][:200]}); all of its output is in {log}"
