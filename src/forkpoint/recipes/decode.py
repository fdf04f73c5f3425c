"""``forkpoint decode``: several decoders on the same problems at the same budgets, in a folder that goes on.

OUT/decode.json      what was asked of which weights, on what
OUT/problems.jsonl   a line per decoder, budget and problem: its answer, verdict and every token it took
OUT/times.jsonl      a line per decoder, budget and part of the problems: seconds, forwards, cache; not the same twice
OUT/decode.html      the page

Problems go in parts of ``PART``. Draws are keyed by problem, so that an interrupted comparison and an uninterrupted one
write the same ``problems.jsonl``, byte for byte, on one machine's CPU.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forkpoint import catalog
from forkpoint.config import Setting
from forkpoint.decoders import Ask, Decoded, Decoder, Policy, build, load_policy
from forkpoint.policies import fingerprint, prompts_by
from forkpoint.recipes._paths import asks
from forkpoint.record import lines
from forkpoint.record.answers import AnswerFolder
from forkpoint.tasks import Problem, Thinking, first_problems, task_of
from forkpoint.verify import score

DOCUMENT, PROBLEMS, TIMES, PAGE = "decode.json", "problems.jsonl", "times.jsonl", "decode.html"
PART = 64
Show = Callable[[int, int], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What is compared. ValueError, in one line, for what is none."""

    model: str
    task: str = "countdown"
    methods: tuple[str, ...] = ("greedy", "sample", "parallel_vote")
    """decoders, or ``NAME=DECODER`` for one by another name, so that one may stand there twice"""
    budgets: tuple[int, ...] = (256,)
    """tokens per problem, its prompt included"""
    problems: int = 64
    seed: int = 0
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """``NAME.SETTING`` for one decoder, ``SETTING`` for every one that has it"""
    thinking: Thinking | None = None
    """markers, where neither the task's nor the tokenizer's are meant"""
    chat: bool = False

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.names)) < len(self.methods):
            raise ValueError(f"--methods {','.join(self.methods)}: name decoders, each once")
        if not self.budgets or sorted(set(self.budgets)) != list(self.budgets) or self.budgets[0] < 1:
            raise ValueError(f"--budget {','.join(map(str, self.budgets))}: give token counts, the smallest first")
        if self.problems < 1:
            raise ValueError(f"--problems {self.problems}: give 1 or more")

    @property
    def names(self) -> tuple[str, ...]:
        """What each is called."""
        return tuple(method.partition("=")[0] for method in self.methods)

    def decoders(self) -> dict[str, Decoder]:
        """Built with their settings, by name. ValueError for a setting that no decoder here has."""
        made = {method.partition("=")[0]: method.rpartition("=")[2] for method in self.methods}
        known = {name: list(build(decoder).settings) for name, decoder in made.items()}
        common = list(dict.fromkeys(setting for settings in known.values() for setting in settings))
        for key in self.settings:
            name, _, setting = key.rpartition(".")
            if name and name not in self.names:
                raise ValueError(f"--settings {key}: {catalog.suggest(name, list(self.names))}")
            if not name and setting not in common:
                told = f"none of {', '.join(self.names)} has it; {catalog.suggest(setting, common)}"
                raise ValueError(f"--settings {key}: {told}")
        return {name: build(made[name], **self._settings_of(name, known[name])) for name in made}

    def _settings_of(self, name: str, known: Sequence[str]) -> dict[str, Setting]:
        common = {key: value for key, value in self.settings.items() if key in known}
        return common | {
            key.removeprefix(f"{name}."): value for key, value in self.settings.items() if key.startswith(f"{name}.")
        }


def as_json(asked: Any) -> Row:
    """What was asked, as JSON has it."""
    return json.loads(json.dumps(vars(asked), default=_as_dict))


def _as_dict(one: Any) -> Row:
    # not dataclasses.asdict, which copies deeply and cannot copy a read-only mapping
    return dict(one) if isinstance(one, Mapping) else vars(one)


def asked_for(methods: str, budgets: str, think: tuple[str, str, str], **about: Any) -> Comparison:
    """The comparison that flags name: lists joined by commas, and the texts that begin, end and prolong thinking.

    >>> asked_for("greedy, sample", "64,128", ("", "", ""), model="tiny").budgets
    (64, 128)
    """
    names = tuple(name.strip() for name in methods.split(",") if name.strip())
    sizes = counts("--budget", budgets, "128,256")
    return Comparison(methods=names, budgets=sizes, thinking=markers(*think, about.get("task", "countdown")), **about)


def counts(flag: str, text: str, example: str) -> tuple[int, ...]:
    """Whole numbers joined by commas; none of an empty text. ValueError that names the flag.

    >>> counts("--budget", "64, 128", ""), counts("--lengths", "", "")
    ((64, 128), ())
    """
    words = [word.strip() for word in text.split(",")] if text else []
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"{flag} {text}: give whole numbers, joined by commas, such as {example}")
    return tuple(map(int, words))


def markers(begin: str, end: str, again: str, task: str) -> Thinking | None:
    """The texts of thinking that are named, the others as the task has them; None where none is named.

    Raises ValueError for a begin without an end, and for an ``again`` where the task has no end either.

    >>> markers("", "answer", "", "countdown")
    Thinking(end='answer', again='no try', begin='', given_up=mappingproxy({'stop': 'try'}))
    """
    named = {key: text for key, text in {"end": end, "again": again, "begin": begin}.items() if text}
    own = getattr(catalog.get("tasks", task)(), "thinking", None) if named else None
    if named and not end and (begin or own is None):
        flag = f"--think-begin {begin!r}" if begin else f"--think-again {again!r}"
        raise ValueError(f"{flag}: give --think-end too, or neither")
    if not named:
        return None
    return replace(own or Thinking(end), **named)


@dataclass(frozen=True)
class Compared:
    """A comparison with its rows."""

    asked: Comparison
    folder: Path
    rows: tuple[Row, ...]
    times: tuple[Row, ...]

    def of(self, method: str, budget: int) -> list[Row]:
        """One row per problem, in the order of the problems."""
        return [row for row in self.rows if row["method"] == method and row["budget"] == budget]


def decode(asked: Comparison, out: Path, *, overwrite: bool = False, show: Show | None = None) -> Compared:
    """Decode what ``out`` does not hold yet; writes all but the page.

    Raises ValueError, in one line, for an unknown decoder, task or setting, a model that cannot be decoded from, a
    prompt that uses up the budget or the model's context, and a folder with other settings or of another model;
    RecordError for a folder that another process writes.
    """
    decoders, task = asked.decoders(), task_of(asked.task)
    folder = AnswerFolder(out, DOCUMENT, [PROBLEMS, TIMES], as_json(asked), overwrite=overwrite)
    folder.ready()
    policy = load_policy(asked.model, asked.thinking or getattr(task, "thinking", None))
    policy.warn_unapplied()
    problems = first_problems(task, asked.problems)
    built = {name: {"decoder": made.name, **made.settings} for name, made in decoders.items()}
    reads = {name: made.reads for name, made in decoders.items()}
    of = (fingerprint(policy.model), prompts_by(policy.tokenizer))
    with folder.begin(*of, decoders=built, reads=reads) as begun:
        cut = [problems[at : at + PART] for at in range(0, len(problems), PART)]
        parts = [(name, budget, part) for name in asked.names for budget in asked.budgets for part in cut]
        rows, times = _kept(out, parts)
        for name, budget, part in parts[len(times) :]:
            decoder = replace(decoders[name], name=name)
            found, took = _timed(policy, decoder, asks(policy, task, part, asked.chat), budget, asked.seed)
            verdicts = score(task, part, [one.text for one in found])
            made = [
                {"method": name, "budget": budget, "problem": problem.id, "verdict": verdict.outcome} | _row(one)
                for problem, verdict, one in zip(part, verdicts, found, strict=True)
            ]
            lines.append(out / PROBLEMS, made)
            lines.append(out / TIMES, [took])
            rows, times = [*rows, *made], [*times, took]
            if show is not None:
                show(len(rows), len(asked.methods) * len(asked.budgets) * len(problems))
        folder.done(begun)
    return Compared(asked, out, tuple(rows), tuple(times))


def _timed(policy: Policy, decoder: Decoder, asks: Sequence[Ask], budget: int, seed: int) -> tuple[list[Decoded], Row]:
    """What was decoded, and what it took of the machine."""
    before, policy.meter.cached = policy.meter.forwards, 0
    began, wall = time.process_time(), time.perf_counter()
    found = decoder.decode(policy, asks, budget, seed=seed)
    took = {"method": decoder.name, "budget": budget, "problems": len(asks)}
    took |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - began}
    took |= {"forwards": policy.meter.forwards - before}
    return found, took | {"cache_bytes": policy.meter.cached * policy.bytes_per_position}


def _row(one: Decoded) -> Row:
    kept = [trace for trace in one.traces if trace.kept]
    entropies = [entropy for trace in one.traces for entropy in trace.entropy]
    return {
        "answer": one.answer,
        "text": one.text,
        **one.spent._asdict(),
        "traces": len(one.traces),
        "thinking": _mean([float(trace.thinking) for trace in kept]),
        "forced": sum(trace.forced for trace in one.traces),
        "entropy": _mean(entropies),
        "votes": dict(one.votes),
        "cut": sum(trace.finish == "limit" for trace in one.traces),
        "note": one.note,
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _kept(out: Path, parts: Sequence[tuple[str, int, Sequence[Problem]]]) -> tuple[list[Row], list[Row]]:
    """The whole parts that the folder holds; what follows them, as a killed writer leaves it, is cut off.

    Raises ValueError, naming the line, where one is damaged, missing, there twice or in another's place.
    """
    rows, times = lines.read(out / PROBLEMS), lines.read(out / TIMES)
    wanted = [_called(name, budget, one.id) for name, budget, part in parts for one in part]
    lines.check_order(out / PROBLEMS, [_called(row["method"], row["budget"], row["problem"]) for row in rows], wanted)
    wanted = [_called(name, budget, len(part)) for name, budget, part in parts]
    lines.check_order(out / TIMES, [_called(row["method"], row["budget"], row["problems"]) for row in times], wanted)
    while times and sum(part["problems"] for part in times) > len(rows):
        times.pop()
    rows = rows[: sum(part["problems"] for part in times)]
    lines.keep(out / TIMES, len(times))
    lines.keep(out / PROBLEMS, len(rows))
    return rows, times


def _called(method: str, budget: int, problems: str | int) -> str:
    """What an error calls a line: of one problem, by its id, or of a number of them."""
    what = f"{problems} problems" if isinstance(problems, int) else f"problem {problems!r}"
    return f"{what} of {method} at {budget}"
