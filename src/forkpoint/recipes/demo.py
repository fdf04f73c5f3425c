"""The main job in minutes: plain GRPO beside the same run with its entropy managed, and a page to look at."""

from pathlib import Path
from typing import Any

from forkpoint.config import RunConfig
from forkpoint.recipes.side_by_side import Show, side_by_side
from forkpoint.record.read import open_run

DEMO = RunConfig(threads=1)
"""the length, batch and learning rate of both arms; frozen together with the tiny policy"""

SHORT = DEMO.model_copy(update={"steps": 12, "eval_every": 4, "eval_problems": 32, "prompts_per_step": 8})
"""the same line in under a minute, for continuous integration; too short to show anything"""

ARMS: tuple[dict[str, Any], ...] = (
    {"name": "GRPO", "method": "grpo"},
    {"name": "KL-Cov", "method": "kl_cov", "settings": {"share": 0.02}},
)
"""the paper's share of 2e-4 to 2e-3 would pick 1 to 18 of the about nine thousand tokens of a step here"""


def configs(out: Path, *, short: bool = False, seed: int = 0) -> list[RunConfig]:
    """The two arms, equal but for the method."""
    base = (SHORT if short else DEMO).model_dump() | {"seed": seed}
    return [RunConfig.model_validate(base | arm | {"out": str(out / arm["method"])}) for arm in ARMS]


def demo(out: Path, *, short: bool = False, seed: int = 0, show: Show | None = None) -> Path:
    """Train both arms side by side, one process and one thread each, and write the page; returns its path.

    An arm that is already done in ``out`` with the same settings is kept. Raises ArmFailed, naming the arm's log.
    """
    from forkpoint.report import page, write_page

    arms = configs(out, short=short, seed=seed)
    side_by_side(arms, show=show)
    return write_page(page([open_run(config.folder) for config in arms]), out / "report.html")
