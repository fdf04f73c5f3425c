"""A folder is the list: a file ``NAME.py`` in it defines ``NAME``, and that is its whole registration."""

import ast
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OTHERS = {
    "methods": ("decoders", "a decoder", "decode"),
    "decoders": ("methods", "a method of training", "train"),
}
"""folder -> the one that it may be taken for, what that holds, and the verb that takes it"""


def names(folder: str) -> list[str]:
    """The members of ``forkpoint.<folder>``, sorted; files that start with an underscore are shared parts.

    >>> "entropy_full" in names("metrics")
    True
    """
    return sorted(path.stem for path in _home(folder).glob("*.py") if not path.stem.startswith("_"))


def get(folder: str, name: str) -> Any:
    """The function ``name`` of a folder; ``"module:function"`` takes one from outside the package.

    Raises ValueError that lists the valid names, the nearest first.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{folder}: cannot load {name!r}: {error}") from error
    if name not in names(folder):
        raise ValueError(f"no {name!r} in {folder}; {hint(folder, name)}")
    return getattr(import_module(f"forkpoint.{folder}.{name}"), name)


def call(kind: str, function: Callable[..., Any], *values: Any, about: str = "") -> Any:
    """``function(*values)``, of a user: where it raises, ValueError says which function did, and of ``about`` what.

    >>> import math
    >>> call("scorer", math.fsum, 3, about="problem 'p'")
    Traceback (most recent call last):
    ValueError: scorer math:fsum: raised TypeError ('int' object is not iterable) for problem 'p'; --debug shows where
    """
    try:
        return function(*values)
    except Exception as error:
        name = f"{function.__module__}:{function.__qualname__}" if hasattr(function, "__qualname__") else repr(function)
        told = f"{kind} {name}: raised {type(error).__name__} ({error})" + (f" for {about}" if about else "")
        raise ValueError(" ".join(f"{told}; --debug shows where".splitlines())) from error


def hint(folder: str, name: str) -> str:
    """For a name that a folder has not: where it is, for a decoder among methods or a method among decoders, else what
    ``suggest`` says.

    >>> hint("methods", "greedy")
    'it is a decoder: see forkpoint decode --help and docs/reference/decoders.md'
    """
    other, kind, verb = OTHERS.get(folder, ("", "", ""))
    if other and name in names(other):
        return f"it is {kind}: see forkpoint {verb} --help and docs/reference/{other}.md"
    return suggest(name, names(folder))


def summary(folder: str, name: str) -> str:
    """The first line of a member's docstring, read without importing the file."""
    return docstring(folder, name).partition("\n")[0]


def docstring(folder: str, name: str) -> str:
    """The whole module docstring of a member, read without importing the file."""
    return ast.get_docstring(ast.parse((_home(folder) / f"{name}.py").read_text(encoding="utf-8"))) or ""


def suggest(word: str, choices: list[str]) -> str:
    """``did you mean 'x'?`` or the list of choices; for the one line that a wrong name gets."""
    close = get_close_matches(word, choices, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"there is {', '.join(choices) or 'nothing'}"


@cache
def _home(folder: str) -> Path:
    spec = find_spec(f"forkpoint.{folder}")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"forkpoint has no folder {folder!r}")
    return Path(next(iter(spec.submodule_search_locations)))
