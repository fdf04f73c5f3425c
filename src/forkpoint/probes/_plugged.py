"""Functions from outside, named ``module:function``: a scorer, an entailment, a kernel."""

from collections.abc import Callable
from typing import Any

from forkpoint import catalog


def plugged(kind: str, given: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function; ValueError, in one line, where the name is no ``module:function`` or leads to none.

    >>> plugged("scorer", "math:fsum")([0.5, 0.25])
    0.75
    """
    if callable(given):
        return given
    if ":" not in given:
        raise ValueError(f"{kind} {given!r}: name a function of yours as module:function")
    try:
        found = catalog.get("probes", given)
    except ValueError as error:
        raise ValueError(f"{kind} {given!r}: {error.__cause__}; name a function of yours as module:function") from error
    if not callable(found):
        raise ValueError(f"{kind} {given!r}: is a {type(found).__name__}; name a function of yours as module:function")
    return found
