"""The map of the package: who may import whom. It is read from the source, so it cannot drift from it."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "forkpoint"

ALWAYS = {"catalog", "config", "labels", "parts", "settings", "signatures"}
"""needs neither torch nor a run, and says what things are called; everyone may import it"""

TENSORS = {"batch", "draws", "metrics", "roles", "credit", "objectives", "methods"}
RUNS = {"record", "forecasts"}
PROBLEMS = {"verify", "tasks", "policies", "papers", "strategic_grams"}
INFERENCE = {"decoders", "probes", "significance"}
COMMAND_LINE = {"terminal", "doctor", "gates", "flags", "exits", "progress", "explain", "doses", "printed"}

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "batch": set(),
    "catalog": set(),
    "config": set(),
    "draws": set(),
    "labels": set(),
    "parts": set(),
    "settings": set(),
    "signatures": set(),
    "alarms": {"gates"},
    "strategic_grams": set(),
    # tensors
    "metrics": {"batch"},
    "roles": {"batch"},
    "credit": {"batch", "draws", "metrics", "roles"},
    "objectives": {"batch"},
    "controllers": set(),
    "methods": {"batch", "credit", "objectives", "controllers"},
    # runs on disk, without torch
    "record": set(),
    "forecasts": {"record"},
    "report": {"record", "forecasts", "alarms"},
    "view": {"record", "forecasts", "report"},
    # problems and policies
    "verify": set(),
    "tasks": {"verify"},
    "policies": {"batch", "metrics"},
    "papers": set(),
    # what puts them together
    "significance": set(),
    "decoders": {"draws", "policies", "tasks"},
    "engines": {"decoders", "tasks"},
    "trainers": TENSORS | RUNS | PROBLEMS | {"controllers", "alarms"},
    "recipes": TENSORS | RUNS | PROBLEMS | INFERENCE | {"controllers", "trainers", "report", "progress"},
    "studies": TENSORS | RUNS | PROBLEMS | INFERENCE | {"controllers", "trainers", "report", "progress", "recipes"},
    "probes": TENSORS | RUNS | PROBLEMS | {"report"},
    # the command line
    "terminal": set(),
    "doctor": set(),
    "gates": set(),
    "flags": set(),
    "explain": {"papers"},
    "doses": {"explain"},
    "exits": {"terminal", "doctor"},
    "printed": {"record", "forecasts", "alarms", "doses", "terminal"},
    "progress": {"record", "terminal", "alarms"},
    "cli_models": COMMAND_LINE | {"probes", "recipes"},
    "cli": RUNS | COMMAND_LINE | {"alarms", "report", "papers", "recipes", "cli_models"},
    "__main__": {"cli"},
}

WITHOUT_TORCH = {
    *("catalog", "cli", "config", "controllers", "doctor", "exits", "flags", "forecasts", "gates", "labels", "papers"),
    *("alarms", "doses", "explain", "parts", "progress", "record", "report", "signatures", "strategic_grams", "tasks"),
    *("cli_models", "printed", "settings", "terminal", "verify", "view"),
}
"""a laptop without torch must be able to run these"""

HEAVY = {"torch", "transformers", "trl", "datasets", "accelerate", "safetensors", "verl", "vllm"}

FORBIDDEN = {
    "a pickle runs code when it is read": r"^\s*(?:import|from)\s+(?:pickle|cloudpickle|dill|joblib|shelve|marshal)\b",
    "text must never become code": r"(?<![.\w])(?:eval|exec)\(",
    "a shell reads more than was meant": r"shell\s*=\s*True|os\.system\(|os\.popen\(",
    "yaml.load builds objects; safe_load does not": r"yaml\.(?:load|unsafe_load|full_load)\(",
    "torch.load reads pickles": r"torch\.load\((?!.*weights_only=True)",
    "code from the Hub must be asked for": r"trust_remote_code\s*=\s*True",
}

FILES = sorted(SRC.rglob("*.py"))
IDS = [path.relative_to(SRC).as_posix() for path in FILES]


def area(path: Path) -> str:
    """The folder directly under the package, or the name of a top-level module."""
    inside = path.relative_to(SRC)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imports(path: Path, tree: ast.AST) -> Iterator[str]:
    """Every module that the tree imports, in full, wherever the statement stands."""
    package = ["forkpoint", *path.relative_to(SRC).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            # "from forkpoint import catalog" imports a module, "from forkpoint import __version__" does not
            yield from (f"{module}.{a.name}" if is_module(f"{module}.{a.name}") else module for a in node.names)


def is_module(name: str) -> bool:
    top, *inside = name.split(".")
    path = SRC.joinpath(*inside)
    return top == "forkpoint" and (path.is_dir() or path.with_suffix(".py").is_file())


def areas_imported(path: Path, tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in imports(path, tree) if name.startswith("forkpoint.")}


def at_import_time(tree: ast.Module) -> ast.Module:
    """The tree without function bodies and without what only type checkers read."""

    class Drop(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return Drop().visit(tree)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_map_names_every_part_of_the_package_and_no_other_has_a_place():
    found = {area(path) for path in FILES}
    assert found <= set(MAY_IMPORT), f"give a line of MAY_IMPORT to {sorted(found - set(MAY_IMPORT))}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_go_one_way(path: Path):
    allowed = MAY_IMPORT[area(path)] | ALWAYS | {area(path)}
    assert areas_imported(path, parsed(path)) - allowed == set()


@pytest.mark.parametrize(
    "path", [p for p in FILES if area(p) in WITHOUT_TORCH], ids=lambda p: p.relative_to(SRC).as_posix()
)
def test_torch_stays_out_of_what_a_laptop_without_it_uses(path: Path):
    tops = {name.partition(".")[0] for name in imports(path, parsed(path))}
    assert tops & HEAVY == set()


@pytest.mark.parametrize(
    "path", [p for p in FILES if area(p) in {"trainers", "engines"}], ids=lambda p: p.relative_to(SRC).as_posix()
)
def test_outside_trainers_and_engines_are_imported_when_used_and_not_before(path: Path):
    tops = {name.partition(".")[0] for name in imports(path, at_import_time(parsed(path)))}
    assert tops & {"trl", "verl", "vllm", "ray"} == set()


def test_vllm_is_imported_in_one_file():
    found = {path.name for path in FILES if "vllm" in {name.partition(".")[0] for name in imports(path, parsed(path))}}
    assert found <= {"vllm.py"}


@pytest.mark.parametrize("file", ["cli.py", "cli_models.py"])
def test_the_command_line_imports_what_a_verb_needs_when_it_runs(file: str):
    early = areas_imported(SRC / file, at_import_time(parsed(SRC / file)))
    assert early <= ALWAYS | {"terminal", "flags", "exits", "cli_models"}


def test_no_import_cycles():
    graph: dict[str, set[str]] = {}
    for path in FILES:
        name = ".".join(["forkpoint", *path.relative_to(SRC).with_suffix("").parts]).removesuffix(".__init__")
        graph[name] = {found for found in imports(path, at_import_time(parsed(path))) if found.startswith("forkpoint.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


@pytest.mark.parametrize("reason", FORBIDDEN)
def test_nothing_runs_code_it_was_given(reason: str):
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    found = {
        name: re.search(FORBIDDEN[reason], texts[path], re.MULTILINE) for name, path in zip(IDS, FILES, strict=True)
    }
    assert {name: match[0] for name, match in found.items() if match} == {}


# The checks above pass on a clean tree, so each is shown here something that it must catch.


IMPORTS_OF_CLI = """
import forkpoint.cli
from forkpoint import cli
from forkpoint.cli import main
from ..cli import main
def f(): from forkpoint.cli import main
if TYPE_CHECKING: from forkpoint.cli import main
""".strip().splitlines()


@pytest.mark.parametrize("source", IMPORTS_OF_CLI)
def test_an_import_is_found_however_it_is_written(source: str):
    assert areas_imported(SRC / "record" / "new.py", ast.parse(source)) == {"cli"}


def test_an_import_inside_a_function_is_not_one_at_import_time():
    tree = ast.parse("def f():\n    import trl\nclass C:\n    def g(self):\n        import verl\nimport torch")
    assert list(imports(SRC / "cli.py", at_import_time(tree))) == ["torch"]


CAUGHT = (
    "import pickle",
    "from dill import loads",
    "eval(text)",
    "run(x, shell=True)",
    "yaml.load(x)",
    "torch.load(f)",
)
LET_BY = ("model.eval()", "literal_eval(x)", "yaml.safe_load(x)", "torch.load(f, weights_only=True)", "executor(x)")


@pytest.mark.parametrize("line", CAUGHT + LET_BY)
def test_the_forbidden_patterns_catch_what_they_name_and_nothing_else(line: str):
    assert any(re.search(pattern, line, re.MULTILINE) for pattern in FORBIDDEN.values()) == (line in CAUGHT)
