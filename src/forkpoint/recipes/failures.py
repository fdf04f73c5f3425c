"""``forkpoint failures``: what training took from a model beside what longer thinking adds to it, measured alike.

Training collapse: entropy falls and the reach of many samples does not grow (arXiv:2505.22617). Inference inflation:
answers spread and accuracy falls as thinking is forced to be longer (arXiv:2506.04210). Each has levers of its own;
with a third model, whose entropy was kept in training, the two are crossed.

OUT/failures.json        what was asked of which weights, at which entropy the early stop is, and every number
OUT/ARM/samples.jsonl    completions as trained; ARM is before, after or kept
OUT/ARM/roles.json       entropy by what a token is for
OUT/ARM/free.jsonl       completions by sampling
OUT/ARM/wait-N.jsonl     completions whose thinking was kept from ending N times
OUT/ARM/think-N.jsonl    completions with thinking of exactly N tokens
OUT/ARM/stop.jsonl       completions whose thinking may end where entropy is low
OUT/ARM/votes.jsonl      the vote of short completions, for as many tokens as the long thinking spent
OUT/failures.html        the page
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from forkpoint.config import Setting
from forkpoint.decoders import Decoded, Decoder, Policy, build, load_policy
from forkpoint.policies import fingerprint, prompts_by
from forkpoint.policies.chat import Chatting
from forkpoint.probes import Drawn, Samples
from forkpoint.probes._asked import Asked
from forkpoint.probes._draw import ROWS, draw, in_chunks
from forkpoint.recipes._paths import Many, TooFew, asks, calibrated, paths, votes
from forkpoint.recipes.decode import Comparison, as_json, counts, markers
from forkpoint.record.answers import AnswerFolder
from forkpoint.record.documents import read_document, write_document
from forkpoint.tasks import Problem, Task, Thinking, first_problems, task_of
from forkpoint.trainers._evaluation import Evaluation, evaluate

DOCUMENT, PAGE = "failures.json", "failures.html"
ARMS = ("before", "after", "kept")
FILES = ("samples.jsonl", "roles.json", "free.jsonl", "stop.jsonl", "votes.jsonl", "wait-*.jsonl", "think-*.jsonl")
ROLE_SAMPLES = 8
Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Failures:
    """What is measured. ValueError, in one line, for what is none."""

    models: tuple[str, ...]
    """before training, after it, and, where there is one, after training that kept its entropy"""
    task: str = "countdown"
    waits: tuple[int, ...] = (1, 2, 3)
    """how often the end of thinking is kept from coming, the least first"""
    lengths: tuple[int, ...] = ()
    """exact lengths of thinking in tokens, the shortest first"""
    long: int = 0
    """which of ``waits`` is the long thinking that the levers are compared with; 0 for the last"""
    problems: int = 64
    k: int = 32
    """completions of each problem as trained"""
    paths: int = 8
    """completions of each problem per length and lever"""
    max_tokens: int = 56
    """longest completion; each wait may take as many again, and a thought of exact length has them for its answer"""
    seed: int = 0
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """``SETTING`` for every decoder that has it; ``free.SETTING``, or stop, votes, wait-N, think-N, for one. Not those
    that ``waits`` and ``lengths`` are"""
    thinking: Thinking | None = None
    chat: bool = False

    def __post_init__(self) -> None:
        if not 2 <= len(self.models) <= len(ARMS):
            raise ValueError(f"failures: {len(self.models)} models; name one before and one after training, or three")
        for name in ("waits", "lengths"):
            given = getattr(self, name)
            if list(given) != sorted(set(given)) or min(given, default=1) < 1:
                raise ValueError(f"--{name} {','.join(map(str, given))}: give counts above 0, the smallest first")
        if not self.waits or self.long not in (0, *self.waits):
            shown = ",".join(map(str, self.waits))
            raise ValueError(f"--waits {shown} --long {self.long}: give at least one wait, and as long one of them")
        for key in self.settings:
            if key.rpartition(".")[2] in ("waits", "length"):
                raise ValueError(
                    f"--settings {key}: how long thinking is forced to be is said by --waits and --lengths"
                )
        for name, least in (("problems", 1), ("k", 2), ("paths", 2), ("max_tokens", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: give {least} or more")

    @property
    def arms(self) -> dict[str, str]:
        """Arm -> model."""
        return dict(zip(ARMS, self.models, strict=False))

    @property
    def forced(self) -> dict[str, int]:
        """Name of a way to force thinking -> most tokens of a completion."""
        waits = {f"wait-{number}": (number + 1) * self.max_tokens for number in self.waits}
        return waits | {f"think-{length}": length + self.max_tokens for length in self.lengths}

    def decoders(self) -> dict[str, Decoder]:
        """By the name of their file, all drawing alike. ValueError for a setting that none of them has."""
        settings: dict[str, Setting] = {"temperature": 0.6, "top_p": 0.95, "max_tokens": float(self.max_tokens)}
        settings |= {f"wait-{number}.waits": float(number) for number in self.waits}
        settings |= {f"think-{length}.length": float(length) for length in self.lengths}
        forced = [f"{name}=budget_forcing" for name in self.forced]
        methods = ("free=sample", "stop=entropy_stop", "votes=parallel_vote", *forced)
        return Comparison("", methods=methods, settings=settings | dict(self.settings)).decoders()


def asked_for(models: Sequence[str], texts: Mapping[str, str], think: tuple[str, str, str], **about: Any) -> Failures:
    """What flags name: lists joined by commas, and the texts that begin, end and prolong thinking."""
    lists = {name: counts(f"--{name}", text, "1,2,4") for name, text in texts.items()}
    thinking = markers(*think, about.get("task", "countdown"))
    return Failures(tuple(models), thinking=thinking, **lists, **about)


@dataclass(frozen=True)
class Arm:
    """What one model wrote."""

    name: str
    """before, after or kept"""
    model: str
    samples: Samples
    """as trained, at temperature 1"""
    roles: Mapping[str, float]
    """role -> mean full-softmax entropy of its tokens in nats, over part of the problems; "all" for every token"""
    free: Samples
    forced: Mapping[str, Samples]
    """by how thinking is forced: ``wait-N`` or ``think-N``"""
    long: Samples
    """one of these"""
    stop: Samples
    threshold: float
    """at which ``stop`` ends thinking, nats"""
    most: Mapping[str, int]
    """most tokens of a completion, for ``free`` and for each way to force thinking"""
    votes: Samples
    """one voted answer each, for no more tokens than ``long`` spent in the mean"""
    weights: str = ""
    """which the model has; empty where nobody says"""


def failures(asked: Failures, out: Path, *, overwrite: bool = False, show: Show | None = None) -> list[Arm]:
    """Write what ``out`` does not hold yet; the page is not written. ``show(done, of)`` counts problems of files.

    Raises ValueError, in one line, for an unknown task or setting, a model that cannot be decoded from, whose thinking
    has no known end or whose context is too small, and a folder with other settings or of other models; RecordError
    for a folder that another process writes.
    """
    decoders, task = asked.decoders(), task_of(asked.task)
    problems = first_problems(task, asked.problems)
    files = [f"{arm}/{name}" for arm in ARMS for name in FILES]
    place = AnswerFolder(out, DOCUMENT, [PAGE, *files], as_json(asked), overwrite=overwrite)
    place.ready()
    # one at a time: three models need not fit side by side, and one that cannot be used is told before the first token
    weights, tokenizers, thresholds = {}, {}, place.stored("thresholds") or {}
    for arm, model in asked.arms.items():
        policy = _load(asked, task, model, problems)
        policy.warn_unapplied()
        weights[arm], tokenizers[arm] = fingerprint(policy.model), prompts_by(policy.tokenizer)
        if arm not in thresholds:
            thresholds[arm] = _threshold(asked, task, policy, model)
        del policy
    built = {name: {"decoder": made.name, **made.settings} for name, made in decoders.items()}
    built["stop"]["threshold"] = thresholds
    with place.begin(weights, tokenizers, thresholds=thresholds, decoders=built) as begun:
        count = _Count(len(weights) * (len(decoders) + 1) * len(problems), show)
        arms: list[Arm] = []
        for arm, model in asked.arms.items():
            making = _Making(asked, task, problems, model, _load(asked, task, model, problems), out / arm, count)
            arms.append(replace(making.arm(arm, decoders, thresholds[arm]), weights=weights[arm]))
            del making
        place.done(begun)
    return arms


def _load(asked: Failures, task: Task, model: str, problems: Sequence[Problem]) -> Policy:
    policy = load_policy(model, asked.thinking or getattr(task, "thinking", None))
    policy.needs_markers("failures")
    longest = max(len(ask.prompt) for ask in asks(policy, task, problems, asked.chat))
    way, most = max(asked.forced.items(), key=lambda pair: pair[1])
    if policy.context is not None and longest + most > policy.context:
        what = f"a prompt of {longest} tokens and {most} more for {way} are over its {policy.context} positions"
        raise ValueError(f"model {model!r}: {what}; lower --max-tokens, --waits or --lengths")
    return policy


def _threshold(asked: Failures, task: Task, policy: Policy, model: str) -> float:
    """At which the early stop ends thinking: as asked for, or calibrated on problems of the training split."""
    decoders = asked.decoders()
    if {"threshold", "stop.threshold"} & set(asked.settings):
        return float(decoders["stop"].settings["threshold"])
    many = Many(asked.paths, asked.max_tokens, asked.seed, asked.chat)
    problems = first_problems(task, asked.problems, "train", fewer=True)
    try:
        return calibrated(policy, decoders["stop"], decoders["free"], task, problems, many).mean
    except TooFew as error:
        raise ValueError(f"model {model!r}: {error}") from None


@dataclass
class _Count:
    """What is done of all files."""

    of: int
    show: Show | None
    before: int = 0

    def file(self, done: int, of: int) -> None:
        if self.show is not None:
            self.show(self.before + done, self.of)


class _Making(NamedTuple):
    """One arm's folder."""

    asked: Failures
    task: Task
    problems: Sequence[Problem]
    model: str
    policy: Policy
    folder: Path
    count: _Count

    def arm(self, name: str, decoders: Mapping[str, Decoder], threshold: float) -> Arm:
        self.folder.mkdir(exist_ok=True)
        most = {"free": self.asked.max_tokens, **self.asked.forced}
        forced = {way: self._paths(way, decoders[way], most[way]) for way in self.asked.forced}
        long = forced[f"wait-{self.asked.long or self.asked.waits[-1]}"]
        stop = build("entropy_stop", **{**decoders["stop"].settings, "threshold": threshold})
        return Arm(
            name=name,
            model=self.model,
            samples=self._drawn(),
            roles=self._roles(),
            free=self._paths("free", decoders["free"], most["free"]),
            forced=forced,
            long=long,
            stop=self._paths("stop", stop, most["free"]),
            threshold=threshold,
            most=most,
            votes=self._votes(decoders["votes"], long),
        )

    @property
    def _tokenizer(self) -> Any:
        return Chatting(self.policy.tokenizer, self.model) if self.asked.chat else self.policy.tokenizer

    def _drawn(self) -> Samples:
        same = {name: getattr(self.asked, name) for name in ("task", "k", "seed", "max_tokens", "chat")}
        asked = Asked(self.model, problems=len(self.problems), crossed=0, **same)
        drawing = (self.policy.model, self._tokenizer, self.task, asked)
        found = draw(drawing, self.folder / "samples.jsonl", show=self.count.file)
        self.count.before += len(self.problems)
        return found

    def _paths(self, name: str, decoder: Decoder, max_tokens: int) -> Samples:
        many = Many(self.asked.paths, max_tokens, self.asked.seed, self.asked.chat)
        return self._kept(name, many.k, lambda part: paths(self.policy, decoder, self.task, part, many))

    def _votes(self, decoder: Decoder, long: Samples) -> Samples:
        spent = [length for one in long.problems for length in one.lengths]
        tokens = max(1, sum(spent) // len(spent))

        def vote(part: Sequence[Problem]) -> Iterator[Drawn]:
            asked = asks(self.policy, self.task, part, self.asked.chat)
            found: dict[str, Decoded] = {}
            for size in {len(ask.prompt) for ask in asked}:
                alike = [ask for ask in asked if len(ask.prompt) == size]
                made = decoder.decode(self.policy, alike, size + tokens, seed=self.asked.seed)
                found |= {ask.id: one for ask, one in zip(alike, made, strict=True)}
            return votes(self.task, part, [found[problem.id] for problem in part])

        return self._kept("votes", 1, vote)

    def _kept(self, name: str, k: int, make: Callable[[Sequence[Problem]], Iterable[Drawn]]) -> Samples:
        file = self.folder / f"{name}.jsonl"
        found, _ = in_chunks(file, self.problems, k, lambda part, _: make(part), show=self.count.file)
        self.count.before += len(self.problems)
        return Samples(tuple(found))

    def _roles(self) -> dict[str, float]:
        """Drawn once more, with what the tokens are for; as many completions at a time as elsewhere."""
        file = self.folder / "roles.json"
        if not file.exists():
            num = min(len(self.problems), ROWS // ROLE_SAMPLES)
            about = Evaluation(num, ROLE_SAMPLES, seed=self.asked.seed, max_tokens=self.asked.max_tokens, crossed=0)
            values = evaluate(self.policy.model, self._tokenizer, self.task, about, keep=0).values
            # a role that no token has is no number
            full = {key: value for key, value in values.items() if key.startswith("entropy/full")}
            write_document(file, {key: value for key, value in full.items() if math.isfinite(value)})
        found = read_document(file)
        roles = {"all": found["entropy/full"]}
        prefix = "entropy/full/"
        return roles | {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
