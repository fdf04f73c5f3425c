"""Every training method on the same problems: what each gains, what it spends, and where (arXiv:2505.22617 and others).

    python -m forkpoint.studies.methods                   # trains what has no row yet, then prints the tables
    python -m forkpoint.studies.methods --minutes 60      # begins no run after an hour; a second call goes on
    python -m forkpoint.studies.methods --only kl_cov,gppo --seeds 1
    python -m forkpoint.studies.methods --write           # writes docs/studies/methods.md from the rows there are

The eight of ``CORE`` run with five seeds; the rest of the folder with two, as exploration. One policy, one task, one
length, equal prompts and samples: the setting of ``forkpoint demo``, evaluated half as often.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from forkpoint import catalog
from forkpoint.config import RunConfig
from forkpoint.policies import TINY, folder
from forkpoint.recipes.demo import DEMO
from forkpoint.record.documents import write_bytes
from forkpoint.studies._methods_page import write_page
from forkpoint.studies._pieces import Piece, Row, final, rounded, row_of, run_pieces

CORE = ("grpo", "dapo", "clip_cov", "kl_cov", "gppo", "forking_tokens", "hicra", "fork_thermostat")
SEEDS, EXPLORED = 5, 2
RUN = DEMO.model_copy(update={"eval_every": 20})
"""the demo's run, evaluated half as often: a fifth of its time would go to that"""
SAMPLES = 32
"""per held-out problem, for the policy before and after training"""

SHARE = "two percent of the about nine thousand tokens of a step is 170; the paper's share would be 1 to 18"
TARGET = (
    "a target in nats is three quarters of what the policy has before training; plain training ended at 0.57 to 0.61 "
    "of it in an earlier study, so that the control has something to hold"
)
START = {"all": 0.239, "fork": 0.758, "execution": 0.00477}
"""entropies of the untrained policy, nats: 128 held-out problems, 32 samples each"""
HELD = {role: round(0.75 * entropy, 4) for role, entropy in START.items()}
SCALED: dict[str, tuple[dict[str, float | str], str]] = {
    "clip_cov": ({"share": 0.02}, SHARE),
    "kl_cov": ({"share": 0.02}, SHARE),
    "rank_shaping": ({"stride": 5.0}, "answers have 56 tokens at most, and three prefixes 40 apart need 121"),
    "fork_thermostat": ({"target_fork": HELD["fork"], "target_execution": HELD["execution"]}, TARGET),
    "aepo": ({"target": HELD["all"]}, TARGET),
    "entropic": ({"target": HELD["all"]}, TARGET),
    "skywork": ({"target": HELD["all"]}, TARGET),
    "entropy_budget": (
        {"end": HELD["all"], "steps": float(DEMO.steps)},
        TARGET + "; the plan lasts as long as the run",
    ),
    "entrocraft": (
        {"lower": START["all"], "lower_end": HELD["all"], "width": 0.04, "steps": float(DEMO.steps)},
        TARGET + "; the band comes down to it from the start, a sixth of its lower edge wide, as published",
    ),
}
"""where a published setting depends on the size of a step or of the entropy: what stands here instead, and why. Chosen
before any of these runs and not changed after; every other setting is the method's default"""

ROWS = Path("benchmarks/results/study-methods")
RUNS = Path("runs/study-methods")
PAGE = Path("docs/studies/methods.md")


def pieces(
    only: Sequence[str] = (), *, seeds: int = SEEDS, explored: int = EXPLORED, base: RunConfig = RUN, out: Path = RUNS
) -> list[Piece]:
    """The runs of the study, the first seed of every method before the second; core methods first.

    Raises ValueError for a name that is not in the folder.
    """
    there = catalog.names("methods")
    for name in only:
        catalog.get("methods", name)
    core = [name for name in CORE if name in there]
    rest = [name for name in there if name not in CORE]
    order = [(name, seed) for seed in range(seeds) for name in core]
    order += [(name, seed) for seed in range(min(explored, seeds)) for name in rest]
    return [_piece(name, seed, base, out) for name, seed in order if not only or name in only]


def _piece(name: str, seed: int, base: RunConfig, out: Path) -> Piece:
    settings = SCALED[name][0] if name in SCALED else {}
    place = str(out / f"{name}-{seed}")
    about = {"method": name, "settings": settings, "name": name, "seed": seed, "out": place, "keep_checkpoints": 1}
    return Piece(f"{name}-{seed}", RunConfig.model_validate(base.model_dump() | about), SAMPLES)


def start_row(rows: Path, base: RunConfig = RUN) -> Row:
    """The policy before training, with as many samples as after it; measured once."""
    path = rows / "start.json"
    if not path.exists():
        rows.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(rounded(final(base, Path(folder(TINY)), SAMPLES))).encode() + b"\n")
    return json.loads(path.read_text(encoding="utf-8"))


def collected(asked: Sequence[Piece], rows: Path) -> dict[str, dict[int, Row]]:
    """Every row there is, by method and seed."""
    found: dict[str, dict[int, Row]] = {}
    for piece in asked:
        if (row := row_of(piece, rows)) is not None:
            found.setdefault(piece.config.method, {})[piece.config.seed] = row
    return found


def methods(
    only: str = "",
    seeds: int = SEEDS,
    explored: int = EXPLORED,
    minutes: float = math.inf,
    processes: int = 2,
    rows: Path = ROWS,
    out: Path = RUNS,
) -> list[str]:
    """Train what has no row in ``rows`` yet; ``only`` names methods, joined by commas. Returns what failed."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    start_row(rows)
    asked = pieces(names, seeds=seeds, explored=explored, out=out)
    return run_pieces(asked, rows, processes=processes, minutes=minutes)


def write_study(rows: Path = ROWS, page: Path = PAGE) -> Path:
    """The page and its figures, from the rows there are."""
    asked = pieces()
    found = collected(asked, rows)
    chosen = {name: scaled for name, scaled in SCALED.items() if name in catalog.names("methods")}
    return write_page(page, found, start_row(rows), core=CORE, scaled=chosen, asked=len(asked))


if __name__ == "__main__":
    import sys

    import tyro

    def main(
        only: str = "",
        seeds: int = SEEDS,
        explored: int = EXPLORED,
        minutes: float = math.inf,
        processes: int = 2,
        rows: Path = ROWS,
        out: Path = RUNS,
        page: Path = PAGE,
        write: bool = False,
    ) -> None:
        """Train what has no row in ``rows`` yet, and write ``page``; with ``write`` only that."""
        failed = [] if write else methods(only, seeds, explored, minutes, processes, rows, out)
        print(write_study(rows, page))
        sys.exit("\n".join(failed) if failed else 0)

    tyro.cli(main)
