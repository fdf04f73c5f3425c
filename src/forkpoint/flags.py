"""A command line -> a verb with its arguments bound, not yet called.

Parsing and running are apart so that a failing run is never mistaken for a failing command line.
"""

import contextlib
import functools
import inspect
import io
import itertools
import re
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from pydantic import ValidationError

from forkpoint.config import RunConfig, Setting, number_or_word, read_config

RunFlags = Annotated[RunConfig, tyro.conf.arg(name="")]
"""every field of ``RunConfig`` as a flag; defaults come from ``--config FILE`` where it is given"""
Names = tyro.conf.Positional[tuple[str, ...]]
AS_PUBLISHED: dict[str, Setting] = {}
"""no settings: those of the sources stand"""


def bind(verb: Callable[..., int], words: list[str]) -> Callable[[], int] | None:
    """``verb`` with its arguments from ``words``; None where help was asked for, which is then on stdout.

    Raises ValueError, in one line, for a wrong flag or value, naming the nearest flag.

    >>> def ls(path: tyro.conf.Positional[str] = "runs", *, json: bool = False) -> int: return len(path)
    >>> bind(ls, ["four"])()
    4
    >>> bind(ls, ["--jsn"])
    Traceback (most recent call last):
    ValueError: Unrecognized options: --jsn; did you mean --json? see forkpoint ls --help
    """
    takes_config = any(p.annotation is RunFlags for p in inspect.signature(verb).parameters.values())
    words = _gathered(words)
    path = _config_named(words) if takes_config else ""
    base = read_config(path) if path else RunConfig()
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                _binding(verb, base),
                prog=f"forkpoint {verb.__name__}",
                args=words,
                registry=_settings_as_pairs(base.settings),
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName),
            )
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + "-".join(map(str, first["loc"])).replace("_", "-")
        raise ValueError(f"{flag} {first['input']!r}: {first['msg'].lower()}") from error
    except SystemExit as stop:
        if stop.code:
            raise ValueError(f"{_one_line(errors.getvalue())} see forkpoint {verb.__name__} --help") from None
        return None


def _binding(verb: Callable[..., int], base: RunConfig) -> Callable[..., Callable[[], int]]:
    """A function with the verb's signature that binds its arguments instead of running it."""

    @functools.wraps(verb)
    def bound(*args: Any, **kwargs: Any) -> Callable[[], int]:
        return functools.partial(verb, *args, **kwargs)

    # tyro reads a model's defaults from its parameter's default: this is how the YAML file gets under the flags
    signature = inspect.signature(verb)
    ours = [p.replace(default=base) if p.annotation is RunFlags else p for p in signature.parameters.values()]
    bound.__signature__ = signature.replace(parameters=ours)  # type: ignore[attr-defined]
    return bound


def _config_named(words: list[str]) -> str:
    """The value of ``--config``; needed before the flags can be parsed, because it holds their defaults."""
    named = ""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        if word == "--config" or word.startswith("--config="):
            named = word.partition("=")[2] or following
    return named


def _gathered(words: list[str]) -> list[str]:
    """The pairs of every ``--settings`` after one of them, where the last would win alone.

    >>> _gathered(["--settings", "share=0.1", "--seed", "1", "--settings", "coef=2"])
    ['--seed', '1', '--settings', 'share=0.1', 'coef=2']
    """
    if words.count("--settings") < 2:
        return words
    rest: list[str] = []
    pairs: list[str] = []
    into = rest
    for word in words:
        if word.startswith("--"):
            into = pairs if word == "--settings" else rest
        if word != "--settings":
            into.append(word)
    return [*rest, "--settings", *pairs]


def _settings_as_pairs(base: dict[str, float | str]) -> tyro.constructors.ConstructorRegistry:
    """``--settings share=0.02 coef=1``, added to what the YAML file set."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def pairs(info: tyro.constructors.PrimitiveTypeInfo) -> Any:  # pyright: ignore[reportUnusedFunction]
        if info.type != dict[str, Setting]:
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs="*",
            metavar="NAME=VALUE",
            instance_from_str=lambda words: base | dict(map(_pair, words)),
            is_instance=lambda value: isinstance(value, dict),
            str_from_instance=lambda settings: [f"{name}={value}" for name, value in settings.items()],
        )

    return registry


def _pair(word: str) -> tuple[str, float | str]:
    name, _, value = word.partition("=")
    if not value:
        raise ValueError(f"{word!r} is no NAME=VALUE such as coef=0.5")
    return name, number_or_word(value)


def _one_line(box: str) -> str:
    """The message of tyro's error box: its first section, and the flag that the second suggests.

    The box is drawn in ASCII where stdout is not UTF-8. Its first line is a title.
    """
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│╰╯ ") for line in box.splitlines()[1:]]
    parts = itertools.groupby(lines, key=lambda line: bool(line) and set(line) <= set("─-"))
    sections = [text for is_rule, part in parts if not is_rule and (text := " ".join(part).strip())]
    near = re.findall(r"--[\w.-]+", sections[1]) if "Perhaps" in sections[1] else []
    return sections[0].rstrip(".") + (f"; did you mean {near[0]}?" if near else ";")
