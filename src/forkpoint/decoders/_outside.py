"""Functions from outside the package that a setting names."""

from collections.abc import Callable
from typing import Any

from forkpoint import catalog


def outside(setting: str, name: str, own: str) -> Callable[..., Any] | None:
    """The function ``"module:function"``; None where ``name`` is ``own``. Raises ValueError for anything else.

    >>> outside("scorer", "mean_logp", "mean_logp"), outside("scorer", "math:fsum", "mean_logp")
    (None, <built-in function fsum>)
    """
    if name == own:
        return None
    if ":" not in name:
        raise ValueError(f"{setting}={name!r}: choose {own!r}, or give a function as 'module:function'")
    found = catalog.get(setting, name)
    if not callable(found):
        raise ValueError(f"{setting}={name!r}: it is no function")
    return found
