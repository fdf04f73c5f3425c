"""What a member of a folder declares, read from its source without importing it.

``forkpoint methods`` must work where torch is not installed, so the file is parsed, never executed.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forkpoint import catalog

ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")


@dataclass(frozen=True)
class Declared:
    """The public face of one file."""

    name: str
    summary: str
    """first line of the module's docstring, without its source in parentheses"""
    sources: tuple[str, ...]
    """arXiv ids in that first line: where the member comes from; ids further down are comparisons and caveats"""
    settings: Mapping[str, Any]
    """keyword -> default, in the order of the signature; a default that is no literal is given as its source text"""
    flags: Mapping[str, Any]
    """literal keywords of the call that builds the result, such as ``needs_off_policy=True``"""


def declared(folder: str, name: str, *, builds: str = "Method") -> Declared:
    """Read ``forkpoint/<folder>/<name>.py``; ``builds`` names the class whose keywords are its flags.

    Raises ValueError where the folder has no such member, or its file no function of that name.

    >>> declared("methods", "kl_cov").settings
    {'share': 0.002, 'coef': 1.0, 'at': 'update'}
    """
    if name not in catalog.names(folder):
        raise ValueError(f"no {name!r} in {folder}; {catalog.suggest(name, catalog.names(folder))}")
    path = Path(__file__).parent / folder / f"{name}.py"
    return read(path.read_text(encoding="utf-8"), name, builds=builds)


def read(source: str, name: str, *, builds: str = "Method") -> Declared:
    """The same from source text.

    >>> source = '"Two clips (arXiv:1707.06347)."\\ndef clip(low=0.2, *, high=0.3): return Method(f(), b=True)'
    >>> found = read(source, "clip")
    >>> found.summary, found.sources, found.settings, found.flags
    ('Two clips.', ('1707.06347',), {'low': 0.2, 'high': 0.3}, {'b': True})
    """
    tree = ast.parse(source)
    doc = ast.get_docstring(tree) or ""
    function = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name), None)
    if function is None:
        raise ValueError(f"{name}.py defines no function {name!r}; a file of this folder must define its own name")
    first = doc.partition("\n")[0]
    summary = re.sub(r"\s*\((?:[^()]*,\s*)?arXiv:[^()]*\)", "", first)
    sources = tuple(dict.fromkeys(ARXIV.findall(first)))
    return Declared(name, summary, sources, _defaults(function), _flags(function, builds))


def _defaults(function: ast.FunctionDef) -> dict[str, Any]:
    spec = function.args
    positional = [*spec.posonlyargs, *spec.args]
    last = positional[len(positional) - len(spec.defaults) :]
    pairs = [*zip(last, spec.defaults, strict=True), *zip(spec.kwonlyargs, spec.kw_defaults, strict=True)]
    return {arg.arg: _literal(default) for arg, default in pairs if default is not None}


def _flags(function: ast.FunctionDef, builds: str) -> dict[str, Any]:
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and ast.unparse(n.func) == builds]
    keywords = [k for call in calls for k in call.keywords if k.arg]
    return {str(k.arg): ast.literal_eval(k.value) for k in keywords if _is_literal(k.value)}


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(node) if _is_literal(node) else ast.unparse(node)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
