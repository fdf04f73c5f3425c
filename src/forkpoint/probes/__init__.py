"""How wide is a model still: samples of any causal LM -> findings. A file ``NAME.py`` defines ``NAME(samples)``.

A probe returns a ``Reading``, or None where the samples lack what it reads. ``readings`` makes all of them.
"""

import inspect
from collections.abc import Callable
from typing import Any

from forkpoint import catalog
from forkpoint.probes._plugged import plugged
from forkpoint.probes._reading import Reading as Reading
from forkpoint.probes._reading import Value as Value
from forkpoint.probes._reading import over_problems as over_problems
from forkpoint.probes._samples import Crossed as Crossed
from forkpoint.probes._samples import Drawn as Drawn
from forkpoint.probes._samples import Samples as Samples


def readings(samples: Samples, **functions: str | Callable[..., Any]) -> dict[str, Reading]:
    """Every probe of the folder that applies, by name.

    ``functions`` are ``scorer``, ``entailment`` and ``kernel``, as a callable or ``module:function``; each goes to the
    probes that take it. Empty ones are left at the probe's default.
    """
    given = {kind: plugged(kind, function) for kind, function in functions.items() if function}
    probes = {name: catalog.get("probes", name) for name in catalog.names("probes")}
    takes = {name: set(inspect.signature(probe).parameters) for name, probe in probes.items()}
    unknown = set(given) - set().union(*takes.values())
    if unknown:
        raise ValueError(f"no probe takes {sorted(unknown)[0]!r}; there is scorer, entailment and kernel")
    found = {
        name: probe(samples, **{kind: function for kind, function in given.items() if kind in takes[name]})
        for name, probe in probes.items()
    }
    return {name: reading for name, reading in found.items() if reading is not None}
