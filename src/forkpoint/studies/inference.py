"""What do tokens buy at inference: before training, after it, with entropy kept, and without any thinking?

    python -m forkpoint.studies.inference                 # makes policies and rows that are missing, writes the page
    python -m forkpoint.studies.inference --minutes 30    # begins nothing after half an hour; a second call goes on
    python -m forkpoint.studies.inference --write         # docs/studies/inference.md from the rows there are

Every decoder at four budgets on the same 353 held-out problems, by four policies: one as the shipped one, but taught
countdown with given numbers to 12 (``start``), that after GRPO (``grpo``), that whose entropies ``fork_thermostat``
held (``kept``), and one of the same shape that was taught answers without thinking (``direct``). The trained ones are a
training for each seed; the other two are one policy each, and seeds are those of the draws.

The shipped policy's own held-out split has 212 problems, which is too few; what it could not tell is in docs/LOG.md.
"""

import json
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.config import Setting
from forkpoint.decoders import build, load_policy
from forkpoint.recipes._decode_summary import right
from forkpoint.recipes._paths import Many, TooFew, calibrated
from forkpoint.recipes.decode import Compared, Comparison, decode
from forkpoint.recipes.side_by_side import ArmFailed
from forkpoint.studies._inference_page import write_page
from forkpoint.studies._inference_policies import ARMS, POLICIES, TASK, make, policy_of, weights_of
from forkpoint.studies._pieces import Row, commit, fill, rounded
from forkpoint.tasks import Task, first_problems
from forkpoint.tasks.countdown import countdown

SEEDS = 3
PROBLEMS = 353
"""all that the policies' task keeps from training"""
BUDGETS = (64, 128, 256, 512)
LENGTHS = (8, 16, 24, 32, 48, 64, 96)
"""of forced thinking, in tokens; the shipped policy's own has 25 at temperature .6 (seed 0)"""
METHODS = (
    *("greedy", "sample", "soft_thinking", "randomised_soft_thinking", "swi_reasoning", "entropy_stop"),
    *("parallel_vote", "randomised_soft_thinking+parallel_vote", "entropy_stop+parallel_vote"),
    *("deep_confidence", "cot_decoding", "entropy_branching", "tree_expansion", "abstractions"),
    *("cold_stop=soft_thinking", "wide_branching=entropy_branching"),
)
"""the last two are decoders once more: with a Cold Stop that can act in thoughts of twenty tokens, with more beams"""
CALIBRATED = ("calibrated_stop=entropy_stop", "calibrated_stop_votes=entropy_stop+parallel_vote")
"""with the threshold of arXiv:2510.08146 from problems of training; the one above has our default, no paper's"""
DRAWS = ("temperature", "top_p", "top_k")
SETTINGS: dict[str, Setting] = {
    # one way to draw for all; completions as long as in training
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 0.0,
    "max_tokens": 56.0,
    # rules that count tokens, for thoughts of twenty tokens instead of thousands
    "window": 8.0,
    "deep_confidence.warmup": 3.0,
    "deep_confidence.wave": 2.0,
    "swi_reasoning.dwell": 4.0,
    "entropy_branching.segment": 8.0,
    "entropy_branching.threshold": 0.5,
    "entropy_branching.beams": 2.0,
    "entropy_branching.expansions": 2.0,
    "tree_expansion.chains": 2.0,
    "tree_expansion.continuations": 4.0,
    "abstractions.m": 4.0,
    "abstractions.k": 64.0,
    "abstractions.opening": 6.0,
    "cold_stop.patience": 4.0,
    "wide_branching.segment": 8.0,
    "wide_branching.threshold": 0.5,
    "wide_branching.beams": 8.0,
    "wide_branching.expansions": 2.0,
}
"""what is not a decoder's default; chosen before any of these rows and not changed after"""

ROWS = Path("benchmarks/results/study-inference")
RUNS = Path("runs/study-inference")
PAGE = Path("docs/studies/inference.md")


def wider() -> Task:
    """Countdown with given numbers to 12; as shipped it has them to 10."""
    return countdown(largest_given=12)


class Scale(NamedTuple):
    """How much is decoded."""

    problems: int = PROBLEMS
    budgets: tuple[int, ...] = BUDGETS
    lengths: tuple[int, ...] = LENGTHS
    methods: tuple[str, ...] = METHODS


def inference(
    only: str = "", seeds: int = SEEDS, minutes: float = math.inf, rows: Path = ROWS, out: Path = RUNS, *, scale: Scale
) -> list[str]:
    """Decode what has no row in ``rows`` yet; ``only`` names arms, by commas. Returns what is missing, and why.

    Makes the policies first, in ``out``; raises ArmFailed where a training fails.
    """
    arms = [name.strip() for name in only.split(",") if name.strip()] or list(ARMS)
    end = time.monotonic() + 60 * minutes
    make(arms, seeds, end, out / POLICIES.name)
    makers = {f"{arm}-{seed}": partial(_row, arm, seed, out, scale) for seed in range(seeds) for arm in arms}

    def same(row: Row) -> bool:
        policy = policy_of(row["arm"], row["seed"], out / POLICIES.name)
        return _same(row, scale) and row.get("weights") == weights_of(policy)

    return fill(rows, end, makers, same)


def _same(row: Row, scale: Scale) -> bool:
    """Whether a row is of these problems, budgets, lengths and settings."""
    asked = _comparison("", scale).decoders()
    settings = {name: rounded(dict(made.settings)) for name, made in asked.items()}
    cells = row["decoders"].get(scale.methods[0], {})
    return (
        row["problems"] == scale.problems
        and list(cells) == [str(budget) for budget in scale.budgets]
        and list(row["forced"]) == [str(length) for length in scale.lengths]
        and {name: row["settings"].get(name) for name in settings} == settings
    )


def _comparison(model: str, scale: Scale, seed: int = 0) -> Comparison:
    settings = {key: value for key, value in SETTINGS.items() if applies(key, scale.methods)}
    about: dict[str, Any] = {"model": model, "task": TASK, "problems": scale.problems, "seed": seed}
    return Comparison(methods=scale.methods, budgets=scale.budgets, settings=settings, **about)


def _row(arm: str, seed: int, out: Path, scale: Scale) -> Row:
    return make_row(arm, seed, policy_of(arm, seed, out / POLICIES.name), out, scale)


def make_row(arm: str, seed: int, model: str, out: Path, scale: Scale) -> Row:
    """The comparisons of one policy: decoders against budgets, calibrated stops too, and lengths of forced thinking."""
    about: dict[str, Any] = {"model": model, "task": TASK, "problems": scale.problems, "seed": seed}
    weights = weights_of(model)
    place = out / f"{arm}-{seed}-{weights}"
    compared = decode(_comparison(model, scale, seed), place)
    threshold = calibrated_threshold(model, seed, scale.problems)
    stopped = (
        None
        if threshold is None
        else decode(
            Comparison(
                methods=CALIBRATED,
                budgets=scale.budgets,
                settings={key: SETTINGS[key] for key in ("window", "max_tokens", *DRAWS)} | {"threshold": threshold},
                **about,
            ),
            place.with_name(f"{place.name}-calibrated"),
        )
    )
    forced = decode(
        Comparison(
            methods=tuple(f"think-{length}=budget_forcing" for length in scale.lengths),
            budgets=(max(scale.lengths) + 60,),
            settings={f"think-{length}.length": float(length) for length in scale.lengths},
            **about,
        ),
        place.with_name(f"{place.name}-forced"),
    )
    by_budget = [compared, stopped] if stopped else [compared]
    return {
        "arm": arm,
        "seed": seed,
        "commit": commit(),
        "weights": weights,
        "cpu_s": sum(part["cpu_s"] for done in (*by_budget, forced) for part in done.times),
        "problems": scale.problems,
        "settings": {name: dict(made.settings) for done in by_budget for name, made in done.asked.decoders().items()},
        "decoders": {
            name: {str(budget): _cell(done, name, budget) for budget in scale.budgets}
            for done in by_budget
            for name in done.asked.names
        },
        "forced": {str(length): _cell(forced, f"think-{length}", forced.asked.budgets[0]) for length in scale.lengths},
    }


def calibrated_threshold(model: str, seed: int, problems: int) -> float | None:
    """The mean entropy of right completions' last steps on problems of training; None where it does not think."""
    alike = {key: SETTINGS[key] for key in DRAWS}
    stop, free = build("entropy_stop", window=SETTINGS["window"], **alike), build("sample", **alike)
    task = wider()
    many = Many(k=8, max_tokens=56, seed=seed)
    try:
        policy = load_policy(model, task.thinking)
        return calibrated(policy, stop, free, task, first_problems(task, problems, "train"), many).mean
    except TooFew:
        return None


def applies(key: str, methods: Sequence[str]) -> bool:
    """Whether one of the decoders has the setting.

    >>> applies("deep_confidence.warmup", ["greedy"]), applies("temperature", ["greedy", "sample"])
    (False, True)
    """
    name, _, setting = key.rpartition(".")
    made = {method.partition("=")[0]: method.rpartition("=")[2] for method in methods}
    return any(setting in build(method).settings for shown, method in made.items() if name in ("", shown))


def _cell(compared: Compared, name: str, budget: int) -> Row:
    """Verdicts as one letter each, and means over problems."""
    rows = compared.of(name, budget)
    letters = {1.0: "1", 0.0: "0"}
    tokens = [row["prompt"] + row["reread"] + row["kept"] + row["discarded"] for row in rows]
    answers = [row["answer"] for row in rows]
    return {
        "right": "".join(letters.get(float(value), "-") for value in right(rows)),
        "tokens": sum(tokens) / len(rows),
        "discarded": sum(row["discarded"] for row in rows) / len(rows),
        "answered": sum(answer is not None for answer in answers) / len(rows),
        "entropy": _mean([row["entropy"] for row in rows]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def collected(rows: Path = ROWS) -> dict[str, dict[int, Row]]:
    """Arm -> seed -> row, of the rows there are."""
    found: dict[str, dict[int, Row]] = {}
    for path in sorted(rows.glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(row["arm"], {})[row["seed"]] = row
    return {arm: found[arm] for arm in ARMS if arm in found}


if __name__ == "__main__":
    import sys

    import tyro

    def main(
        only: str = "",
        seeds: int = SEEDS,
        minutes: float = math.inf,
        rows: Path = ROWS,
        out: Path = RUNS,
        page: Path = PAGE,
        write: bool = False,
    ) -> None:
        """Make and decode what has no row in ``rows`` yet, and write ``page``; with ``write`` only that."""
        try:
            missing = [] if write else inference(only, seeds, minutes, rows, out, scale=Scale())
        except ArmFailed as error:
            missing = [str(error)]
        print(write_page(page, collected(rows)))
        sys.exit("\n".join(missing) if missing else 0)

    tyro.cli(main)
