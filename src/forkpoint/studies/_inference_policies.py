"""The policies that the two studies of inference compare, made where they are missing and kept where they are there.

start   the shipped policy's recipe on countdown with given numbers to 12: its held-out split has 353 problems
direct  the same, taught answers without thinking
grpo    the start after GRPO, a training for each seed
kept    the start after fork_thermostat with set-points below what it starts from, a training for each seed
"""

import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from forkpoint.config import RunConfig
from forkpoint.policies import load
from forkpoint.recipes.demo import DEMO
from forkpoint.recipes.side_by_side import is_done, side_by_side
from forkpoint.recipes.tiny_policy import Recipe, tiny_policy
from forkpoint.record.checkpoints import newest

TASK = "forkpoint.studies.inference:wider"
_START = Recipe(tasks=(TASK, "dyck"))
TAUGHT = {"start": _START, "direct": replace(_START, thinks=False)}
START = {"fork": 0.757, "execution": 0.00718}
"""entropies of ``start``, nats: 128 held-out problems, 32 samples each"""
HELD = {f"target_{role}": round(0.75 * entropy, 4) for role, entropy in START.items()}
"""three quarters of them, as in forkpoint.studies.methods"""
TRAINED: dict[str, tuple[str, dict[str, float]]] = {"grpo": ("grpo", {}), "kept": ("fork_thermostat", HELD)}
ARMS = ("start", "grpo", "kept", "direct")
RUN = DEMO.model_copy(update={"task": TASK, "eval_every": 80})
"""the demo's run; nothing is read of it but its last checkpoint"""
POLICIES = Path("runs/study-inference/policies")


def make(arms: Sequence[str], seeds: int, end: float, out: Path = POLICIES) -> None:
    """Teach and train what is not there yet, two trainings at a time; none begins after ``end`` of the monotonic clock.

    Raises ArmFailed, naming the log, where a training does.
    """
    for name, recipe in TAUGHT.items():
        wanted = name in arms or (name == "start" and set(arms) & set(TRAINED))
        if wanted and not _taught(out / name, recipe) and time.monotonic() < end:
            tiny_policy(recipe, out / name)
    configs = [run_of(arm, seed, out) for seed in range(seeds) for arm in TRAINED if arm in arms]
    waiting = [config for config in configs if not is_done(config)]
    while waiting and (out / "start/recipe.json").exists() and time.monotonic() < end:
        pair, waiting = waiting[:2], waiting[2:]
        side_by_side(pair)


def run_of(arm: str, seed: int, out: Path = POLICIES) -> RunConfig:
    """The training of ``grpo`` or ``kept``."""
    method, settings = TRAINED[arm]
    about = {"method": method, "settings": settings, "seed": seed, "name": f"{arm}-{seed}"}
    about |= {"model": str((out / "start").absolute()), "out": str(out / f"{arm}-{seed}")}
    return RunConfig.model_validate(RUN.model_dump() | about | {"keep_checkpoints": 1})


def policy_of(arm: str, seed: int, out: Path = POLICIES) -> str:
    """The folder of a policy. Raises ValueError where it is not there, or is another than asked for."""
    if arm not in ARMS:
        raise ValueError(f"no arm {arm!r}; there is {', '.join(ARMS)}")
    if arm in TAUGHT:
        if not _taught(out / arm, TAUGHT[arm]):
            raise ValueError(f"{out / arm}: not made yet; without --minutes the study makes it")
        return str((out / arm).absolute())
    config = run_of(arm, seed, out)
    found = newest(config.folder / "checkpoints").folder if is_done(config) else None
    if found is None:
        raise ValueError(f"{config.folder}: not trained yet; without --minutes the study trains it")
    return str(found.absolute())


def weights_of(model: str) -> str:
    """Which weights a folder holds; a row says it, so that a policy that is trained again gets a row of its own.

    crc32 over the first 64 numbers of every parameter, as all stored rows have it: less than ``policies.fingerprint``
    sees, and enough for two trainings.
    """
    crc = 0
    for parameter in load(model)[0].parameters():
        crc = zlib.crc32(parameter.detach().flatten()[:64].float().cpu().numpy().tobytes(), crc)
    return f"{crc:08x}"


def _taught(folder: Path, recipe: Recipe) -> bool:
    written = folder / "recipe.json"
    # through text, where a tuple is a list
    return written.exists() and json.loads(written.read_text()) == json.loads(json.dumps(asdict(recipe)))
