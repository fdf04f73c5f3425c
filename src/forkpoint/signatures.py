"""What a member of a folder declares, read from its source without importing it.

``forkpoint methods`` must work where torch is not installed, so the file is parsed, never executed.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
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
    """literal keywords of the call that builds the result, such as ``needs_off_policy=True``, at the defaults"""
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """folder -> its members that the file imports: credit rules, objectives, controllers"""
    passes: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    """(member that is called, its keyword) -> the setting of this file that goes there"""
    ours: bool = False
    """whether that first line says ``(ours``: it builds on its sources and is none of theirs"""

    @property
    def reads(self) -> tuple[str, ...]:
        """Optional fields of a step that it needs at its defaults."""
        return tuple(self.flags.get("reads", ()))

    @property
    def reduction(self) -> str | None:
        """How its paper averages token losses; None leaves that to the host."""
        return self.flags.get("reduction")

    @property
    def stand_in(self) -> tuple[str, ...]:
        """Settings of an objective that only fills the place."""
        return tuple(self.flags.get("stand_in", ()))


@cache
def declared(folder: str, name: str, *, builds: str = "Method") -> Declared:
    """Read ``forkpoint/<folder>/<name>.py``; ``builds`` names the class whose keywords are its flags.

    Raises ValueError where the folder has no such member, or its file no function of that name.

    >>> declared("methods", "kl_cov").settings
    {'share': 0.002, 'coef': 1.0, 'at': 'update'}
    """
    if name not in catalog.names(folder):
        raise ValueError(f"no {name!r} in {folder}; {catalog.hint(folder, name)}")
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
    settings, uses = _defaults(function), _uses(tree, function, builds)
    passes = _passes(function, {member for members in uses.values() for member in members}, settings)
    return Declared(name, summary, sources, settings, _flags(function, builds), uses, passes, "(ours" in first)


@cache
def shares(folder: str, name: str) -> dict[str, float]:
    """Settings of a credit rule that are shares of a step's tokens -> what is added before rounding down.

    A share is what the rule gives to ``check_share``. It stands for max(1, floor(share N + slack)) tokens, of which the
    slack is that of the rule's own ``int(share * N + slack)``, and 0 where it leaves the count to ``quota``.

    >>> shares("credit", "kl_covariance"), shares("credit", "top_entropy")
    ({'share': 0.0}, {'share': 0.9999})
    """
    tree = _parsed(folder, name)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    by_name = [(call.func.id, call.args[0]) for call in calls if call.args and isinstance(call.func, ast.Name)]
    checked = [arg.id for called, arg in by_name if called == "check_share" and isinstance(arg, ast.Name)]
    counted = [arg for called, arg in by_name if called == "int"]
    return {setting: _slack(counted, setting) for setting in checked}


@cache
def does_to_advantage(rule: str) -> str:
    """What a credit rule declares that it does to the advantage.

    >>> [does_to_advantage(rule) for rule in ("kl_covariance", "role_bonus", "group_mean")]
    ['read', 'shaped', 'taken']
    """
    said = [
        keyword.value
        for call in _calls(_parsed("credit", rule))
        if ast.unparse(call.func) == "declares"
        for keyword in call.keywords
        if keyword.arg == "advantage"
    ]
    return str(ast.literal_eval(said[0])) if said else "kept"


def _slack(counted: Sequence[ast.expr], setting: str) -> float:
    for sum_ in counted:
        named = any(isinstance(node, ast.Name) and node.id == setting for node in ast.walk(sum_))
        if named and isinstance(sum_, ast.BinOp) and isinstance(sum_.op, ast.Add) and _is_literal(sum_.right):
            return float(ast.literal_eval(sum_.right))
    return 0.0


@cache
def filled_by(trainer: str) -> frozenset[str]:
    """Fields of a step that a trainer fills, by what its host file hands to ``StepBatch``.

    >>> {"entropy", "reward", "group_reward"} <= filled_by("trl")
    True
    """
    tree = _parsed("trainers", f"_{trainer}_host")
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "StepBatch"]
    named = {str(keyword.arg) for call in calls for keyword in call.keywords if keyword.arg}
    values = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "ROW_COLUMNS"]
    words = [node.value for value in values for node in ast.walk(value) if isinstance(node, ast.Constant)]
    return frozenset(named.union(map(str, words)))


def _parsed(folder: str, name: str) -> ast.Module:
    return ast.parse((Path(__file__).parent / folder / f"{name}.py").read_text(encoding="utf-8"))


def _uses(tree: ast.Module, function: ast.FunctionDef, builds: str) -> dict[str, tuple[str, ...]]:
    """Imported members by folder, in the order in which they stand in the result."""
    called = [ast.unparse(node.func) for made in _built(function, builds) for node in _calls(made)]
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").count(".") == 2:
            _, folder, member = str(node.module).split(".")
            if not member.startswith("_") and member in {alias.name for alias in node.names}:
                found.setdefault(folder, []).append(member)
    last = len(called)
    return {
        folder: tuple(sorted(members, key=lambda name: called.index(name) if name in called else last))
        for folder, members in found.items()
    }


def _passes(function: ast.FunctionDef, members: set[str], settings: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and ast.unparse(n.func) in members]
    return {
        (ast.unparse(call.func), str(keyword.arg)): keyword.value.id
        for call in calls
        for keyword in call.keywords
        if keyword.arg and isinstance(keyword.value, ast.Name) and keyword.value.id in settings
    }


def _defaults(function: ast.FunctionDef) -> dict[str, Any]:
    spec = function.args
    positional = [*spec.posonlyargs, *spec.args]
    last = positional[len(positional) - len(spec.defaults) :]
    pairs = [*zip(last, spec.defaults, strict=True), *zip(spec.kwonlyargs, spec.kw_defaults, strict=True)]
    return {arg.arg: _literal(default) for arg, default in pairs if default is not None}


def _flags(function: ast.FunctionDef, builds: str) -> dict[str, Any]:
    keywords = [k for call in _built(function, builds) for k in call.keywords if k.arg]
    values = {str(k.arg): _as_published(k.value, _defaults(function)) for k in keywords}
    return {name: ast.literal_eval(value) for name, value in values.items() if _is_literal(value)}


class _Inline(ast.NodeTransformer):
    """Puts what a name was assigned in the place of the name."""

    def __init__(self, assigned: Mapping[str, ast.expr]) -> None:
        self.assigned = assigned

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.assigned:
            return node
        rest = {name: value for name, value in self.assigned.items() if name != node.id}
        return _Inline(rest).visit(deepcopy(self.assigned[node.id]))


def _built(function: ast.FunctionDef, builds: str) -> list[ast.Call]:
    """The calls that build the result, with the function's own variables written out."""
    assigned: dict[str, ast.expr] = {}
    for node in function.body:
        target, value = (node.targets[0], node.value) if isinstance(node, ast.Assign) else (None, None)
        if isinstance(target, ast.Name) and value is not None:
            assigned[target.id] = value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            named = zip(target.elts, value.elts, strict=True)
            assigned |= {name.id: part for name, part in named if isinstance(name, ast.Name)}
    calls = [node for node in _calls(function) if ast.unparse(node.func) == builds]
    return [_Inline(assigned).visit(deepcopy(call)) for call in calls]


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call, in the order in which it is written."""
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)


def _as_published(node: ast.expr, settings: Mapping[str, Any]) -> ast.expr:
    """What the defaults make of ``not setting``, ``a if setting else b`` and ``a if setting == "word" else b``."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Name) and node.operand.id in settings:
        return ast.Constant(not settings[node.operand.id]) if isinstance(node.op, ast.Not) else node
    if not isinstance(node, ast.IfExp):
        return node
    test, wanted = node.test, None
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq) and _is_literal(test.comparators[0]):
        test, wanted = test.left, ast.literal_eval(test.comparators[0])
    if not isinstance(test, ast.Name) or test.id not in settings:
        return node
    value = settings[test.id]
    return node.body if (value == wanted if wanted is not None else value) else node.orelse


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(node) if _is_literal(node) else ast.unparse(node)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
