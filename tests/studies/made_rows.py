"""Rows of studies as they would be stored, with numbers that a test chooses."""

from forkpoint.studies._pieces import Row


def made_row(config, *, correct, samples=32, entropy=(0.24, 0.18), fork=(0.75, 0.5), method=None) -> Row:
    """A row of ``config``: two evaluations, entropies on a line between two values, ``correct`` per problem."""
    steps = [0, config.steps]
    ends = {"entropy/full": entropy, "entropy/full/fork": fork, "entropy/full/execution": (0.005, 0.005)}
    final = {"entropy/full": entropy[1], "entropy/full/fork": fork[1], "entropy/full/execution": 0.005}
    shares = {"diversity/format/a": 0.5, "diversity/format/b": 0.5}
    return {
        "wall_s": 60,
        "cpu_s": 60,
        "commit": "abc1234",
        "method": method or {"name": config.method, "settings": dict(config.settings), "intervenes": False},
        "seed": config.seed,
        "environment": {"cpus": 2, "packages": {"torch": "2", "trl": "1"}},
        "steps": config.steps,
        "eval_steps": steps,
        "eval": {"accuracy": [0.3, 0.5], **{key: list(values) for key, values in ends.items()}},
        "tokens": [1000.0],
        "by_step": {key: [values[1]] * config.steps for key, values in ends.items()},
        "train": {"guard/changed_share": [0.25], "control/tilt_fork": [0.5], "control/tilt_execution": [-1.0]},
        "config": config.model_dump(),
        "final": {"samples": samples, "correct": list(correct), **final, **shares},
    }


START = {
    "samples": 32,
    "correct": [8, 16, 12, 12],
    "entropy/full": 0.24,
    "entropy/full/fork": 0.75,
    "entropy/full/execution": 0.005,
    "diversity/format/a": 1.0,
}
