"""Settings of methods and decoders: keyword defaults are the paper's, and what is set instead must be of their kind."""

import inspect
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Literal, get_args, get_origin

from forkpoint import catalog


def like_defaults(signature: inspect.Signature, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as the signature's defaults are: a number for a number, text for text, a word of a ``Literal``.

    A float's setting takes whole numbers too, as config files write 1 for 1.0. Raises ValueError in one line.
    """
    return {name: _like(signature.parameters[name], value) for name, value in values.items()}


def refuse_unknown(name: str, asked: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError for a setting that ``name`` does not have, with the nearest one."""
    known = list(known)
    for setting in asked:
        if setting not in known:
            raise ValueError(f"{name} has no setting {setting!r}; {catalog.suggest(setting, known)}")


def _like(parameter: inspect.Parameter, value: object) -> object:
    kind, default, name = parameter.annotation, parameter.default, parameter.name
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise ValueError(f"{name}={value!r}: choose {' or '.join(map(repr, get_args(kind)))}")
    if kind is str and not isinstance(value, str):
        raise ValueError(f"{name}={value!r}: it must be text")
    if isinstance(default, bool) or not isinstance(default, int | float):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        unit = "; a share is a fraction, 0.2 % is 0.002" if str(value).endswith("%") else ""
        wanted = "whole" if isinstance(default, int) else "finite"
        raise ValueError(f"{name}={value!r}: it must be a {wanted} number{unit}")
    if isinstance(default, int) and float(value) != int(value):
        raise ValueError(f"{name}={value!r}: it must be a whole number")
    return int(value) if isinstance(default, int) else float(value)
