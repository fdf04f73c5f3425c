"""What one step of each method does to entropy, and where: predicted to first order, and measured (arXiv:2505.22617).

    tabular   dH(s) = -Cov_{a ~ pi}(log pi(a|s), dz_{s,a}),    dz the step in the logits that the method's loss asks for
    network   dH = <grad_theta H, d theta>,    H the mean full-softmax entropy over a role's tokens of one fixed batch

    python -m forkpoint.studies.entropy_change            # both, five batches each, then the page; minutes
    python -m forkpoint.studies.entropy_change --write    # docs/studies/entropy-change.md from the last result

The first equation is Lemma 1 of the paper. With a plain step dz = -eta dL/dz, with a natural one -eta F^+ dL/dz. Steps
have one length for every method, so that the scale of a loss does not matter, as it does not for Adam.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forkpoint.record.documents import write_bytes
from forkpoint.studies._entropy_page import BASELINE, write_page
from forkpoint.studies._fixed_step import DEMO_STEP, SMALL, Change, methods_at_work, own_settings
from forkpoint.studies._network import Network
from forkpoint.studies._pieces import commit
from forkpoint.studies._tabular import tabular, tabular_changes, worked_check
from forkpoint.studies.methods import SCALED

RESULT = Path("benchmarks/results/study-entropy-change.json")
PAGE = Path("docs/studies/entropy-change.md")
PARTS = ("followed", "tabular", "network", "demo")


def entropy_change(
    batches: int = 5, only: Sequence[str] = (), *, prompts: int = 32, result: Path | None = None
) -> dict[str, Any]:
    """Every method on ``batches`` tabular batches and as many of the tiny policy's own answers; GRPO is always there.

    ``{"worked", "tabular": {method: {step: [Change per batch]}}, "network": {method: {role: ...}}, "demo": ...}``, a
    Change as [predicted, measured]. "demo" is the network at the length of a demo's step, where first order ends.
    "followed" holds {method: {"tabular" or "network": {setting: [value per batch]}}} of the settings that follow the
    batch, which are left out of "settings". ``result`` is written after every batch; one of the same commit and
    settings is gone on with.
    """
    found = methods_at_work({name: settings for name, (settings, _) in SCALED.items()})
    chosen = {name: method for name, method in found.items() if not only or name in (*only, BASELINE)}
    settings = {name: own_settings(method) for name, method in chosen.items()}
    told = _begun({"commit": commit(), "prompts": prompts, "settings": settings}, result)
    for seed in range(told["batches"], batches):
        table, network = tabular(seed), Network(seed, prompts=prompts)
        for name, method in chosen.items():
            for where, values in (("tabular", table.followed(method)), ("network", network.followed(method))):
                for knob, value in values.items():
                    told["followed"].setdefault(name, {}).setdefault(where, {}).setdefault(knob, []).append(value)
            _keep(told["tabular"].setdefault(name, {}), tabular_changes(method, table))
            small, large = network.changes(method, SMALL, DEMO_STEP)
            _keep(told["network"].setdefault(name, {}), small)
            _keep(told["demo"].setdefault(name, {}), large)
        told["batches"] = seed + 1
        if result is not None:
            write_bytes(result, (json.dumps(told, indent=1) + "\n").encode())
    return told


def _begun(about: dict[str, Any], result: Path | None) -> dict[str, Any]:
    """What ``result`` holds already, where it is of this commit, without changes beside it, and of these settings."""
    if result is not None and result.exists() and about["commit"] and not about["commit"].endswith("+"):
        told = json.loads(result.read_text(encoding="utf-8"))
        if {key: told[key] for key in about} == about:
            return told
    return {**about, "worked": worked_check(), "batches": 0, **{part: {} for part in PARTS}}


def _keep(place: dict[str, list[list[float]]], changes: dict[str, Change]) -> None:
    for what, change in changes.items():
        place.setdefault(what, []).append([change.predicted, change.measured])


if __name__ == "__main__":
    import tyro

    def main(batches: int = 5, only: str = "", write: bool = False, result: Path = RESULT, page: Path = PAGE) -> None:
        """Measure and write ``result`` and ``page``; with ``write`` only the page."""
        if not write:
            names = [name.strip() for name in only.split(",") if name.strip()]
            entropy_change(batches, names, result=result)
        print(write_page(page, json.loads(result.read_text(encoding="utf-8"))))

    tyro.cli(main)
