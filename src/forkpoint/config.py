"""The settings of one run, as a checked model: what a YAML file holds and what the flags change. Needs no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from forkpoint import catalog

Positive = Annotated[int, Field(gt=0)]


def number_or_word(value: object) -> float | str:
    """A method's setting. A text that says a number is one: YAML takes 1e-3 for a text, and a command line everything.

    >>> number_or_word("1e-3"), number_or_word("rollout")
    (0.001, 'rollout')
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a setting is a number or a word")
    try:
        return float(value)
    except ValueError:
        return str(value)


Setting = Annotated[float | str, PlainValidator(number_or_word)]


class RunConfig(BaseModel):
    """One training run. Every field is stored, resolved, in the run's ``run.json``."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    model: str = "tiny"
    """policy to start from: 'tiny', a folder, or a Hub id"""
    task: str = "countdown"
    """problems and score: a task's name, or 'module:function'"""
    method: str = "grpo"
    """how the update is made: a method's name, several joined by + (hicra+kl_cov), or 'module:function'"""
    settings: dict[str, Setting] = Field(default_factory=dict)
    """the method's settings, where they differ from the paper's"""
    name: str = ""
    """what the run is called on the page; the method's name where empty"""
    out: str = ""
    """run folder; runs/NAME-SEED where empty"""
    seed: int = 0
    """of the problems' order and of every draw"""

    steps: Positive = 160
    """optimizer steps, settled when a run begins"""
    prompts_per_step: Positive = 32
    """prompts in one optimizer step"""
    samples_per_prompt: Annotated[int, Field(gt=1)] = 8
    """the group that GRPO normalizes over"""
    updates_per_rollout: Positive = 2
    """optimizer steps on each rollout; with 1 every ratio is 1 and clipping does nothing"""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """of AdamW, constant"""
    max_tokens: Positive = 56
    """longest completion, in tokens"""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """of sampling, in training and evaluation"""
    micro_batches: Positive = 1
    """how many pieces a step is cut into to save memory"""

    eval_every: Positive = 10
    """optimizer steps between held-out evaluations; one comes before the first step and one after the last"""
    eval_problems: Positive = 128
    """held-out problems per evaluation"""
    eval_samples: Positive = 8
    """samples per held-out problem; pass@k is estimated for k up to this"""
    eval_crossed: Annotated[int, Field(ge=0)] = 8
    """held-out problems whose completions are scored under each other's prompts, for what they tell of their prompt
    (diversity/mutual_information): 8 x 8 forward rows per evaluation; 0 leaves it out"""
    record_rollouts: Annotated[int, Field(ge=0)] = 16
    """completions kept per rollout and per evaluation; 0 keeps none"""
    record_text: bool = True
    """keep what they say and were asked"""
    record_tokens: bool = True
    """keep their columns per token: ids, log-probs, entropy, label, weight, mark"""
    record_rank: Annotated[int, Field(ge=0)] = 0
    """tokens between the prefixes whose effective rank is recorded, the paper's are 40 apart; 0 records no rank"""
    no_verdict: Literal["leave_out", "wrong"] = "leave_out"
    """a completion whose verdict is none (out of time, a crash): out of its group's baseline, or worth 0"""
    on_alarm: Literal["log", "checkpoint", "stop"] = "log"
    """what an alarm does besides a line on stderr and in the record: nothing, save a checkpoint, or save and stop"""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 leaves torch's own choice"""
    save_every: Annotated[int, Field(ge=0)] = 20
    """optimizer steps between checkpoints, in the run folder's checkpoints/; 0 saves none"""
    keep_checkpoints: Positive = 2
    """complete checkpoints to keep, the newest"""
    keep_mb: Annotated[float, Field(gt=0)] | None = None
    """most megabytes of recorded completions to keep, the newest; None keeps all"""
    strict_log: bool = False
    """stop where the record cannot be written (a full disk) or a tracker fails; else train on, and count it"""
    resume: bool = False
    """go on with the run that is in the folder, from its newest complete checkpoint, or from the start without one"""
    overwrite: bool = False
    """replace a run that is already in the folder"""

    @property
    def title(self) -> str:
        return self.name or self.method.rpartition(":")[2]

    @property
    def folder(self) -> Path:
        return Path(self.out or f"runs/{self.title}-{self.seed}")


def read_config(path: str | Path) -> RunConfig:
    """A config from a YAML file. Raises ValueError with one line naming file, key and remedy."""
    try:
        loaded: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); give the path of a YAML file") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: holds {type(loaded).__name__}, not keys and values such as 'method: kl_cov'")
    return make_config(loaded, where=str(path))


def make_config(values: dict[str, Any], *, where: str = "config") -> RunConfig:
    """A config from keys and values. Raises ValueError with one line that names the first fault."""
    for key in values:
        if key not in RunConfig.model_fields:
            raise ValueError(f"{where}: no key {key!r}; {catalog.suggest(str(key), list(RunConfig.model_fields))}")
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {field} = {first['input']!r}: {first['msg'].lower()}") from error
