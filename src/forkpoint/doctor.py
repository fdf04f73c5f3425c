"""What this installation has, lacks, and would need: read from package metadata, nothing is imported."""

import os
import platform
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TINY = Path(__file__).parent / "policies" / "tiny"


class Requirement(NamedTuple):
    """One line of the package's dependencies."""

    package: str
    needs: str
    """version specifier, such as ``>=1.15,<2``"""
    extra: str
    """the extra that brings it; empty for a core dependency"""


class Package(NamedTuple):
    """A requirement beside what is installed."""

    package: str
    extra: str
    needs: str
    installed: str
    """empty where the package is missing"""
    remedy: str
    """empty where nothing is wrong"""


def packages() -> list[Package]:
    """Every dependency, core first; developer tools are left out."""
    return [_look_up(r) for r in requirements() if r.extra != "dev"]


def system() -> dict[str, str]:
    """Python, processor threads, and whether the shipped policy is whole."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "cpu threads": f"{allowed} usable, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}",
        "shipped policy": policy_fault() or "present",
    }


def policy_fault(folder: Path = TINY) -> str:
    """What keeps the shipped policy from loading; empty where nothing does."""
    if not (folder / "config.json").is_file():
        return "missing; reinstall forkpoint, or train with --model FOLDER"
    if not any(folder.glob("*.safetensors")):
        return "has no weights; reinstall forkpoint, or train with --model FOLDER"
    return ""


def remedy_for(module: str) -> str:
    """How to get a module that could not be imported.

    >>> remedy_for("jinja2.sandbox")
    "pip install 'forkpoint[report]'"
    """
    top = module.partition(".")[0]
    brings = [r.extra for r in requirements() if r.package.replace("-", "_").lower() == top.lower()]
    return f"pip install 'forkpoint[{brings[0]}]'" if brings and brings[0] else f"pip install {top}"


def requirements(lines: Iterable[str] | None = None) -> list[Requirement]:
    """Dependencies from lines of package metadata; by default forkpoint's own.

    >>> for requirement in requirements(["numpy>=1.26", 'trl<2,>=1.15; extra == "train"']):
    ...     print(requirement)
    Requirement(package='numpy', needs='>=1.26', extra='')
    Requirement(package='trl', needs='<2,>=1.15', extra='train')
    """
    found = [re.match(r"([\w.-]+)\s*([^;]*)(?:;(.*))?", line) for line in (_own() if lines is None else lines)]
    parts = [(m[1], m[2].strip(), m[3] or "") for m in found if m]
    extras = [re.search(r"extra\s*==\s*['\"]([\w-]+)", marker) for _, _, marker in parts]
    # a marker other than an extra (an old Python's backport) is no concern of this interpreter
    kept = zip(parts, extras, strict=True)
    return [Requirement(p, needs, e[1] if e else "") for (p, needs, marker), e in kept if e or not marker]


def _own() -> list[str]:
    """Forkpoint's requirement lines: from the installed package, or from the source tree it runs in."""
    try:
        return metadata.requires("forkpoint") or []
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = project["optional-dependencies"].items()
        return project["dependencies"] + [f'{line}; extra == "{extra}"' for extra, lines in extras for line in lines]


def _look_up(requirement: Requirement) -> Package:
    package, needs, extra = requirement
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        installed = ""
    fits = installed and not _too_old(installed, needs)
    how = f"pip install 'forkpoint[{extra}]'" if extra else f"pip install '{package}{needs}'"
    return Package(package, extra or "core", needs, installed, "" if fits else how)


def _too_old(installed: str, needs: str) -> bool:
    floor = re.search(r">=\s*([\d.]+)", needs)
    return floor is not None and _release(installed) < _release(floor[1])


def _release(version: str) -> tuple[int, ...]:
    """The numbers before any suffix: ``2.13.0+cpu`` -> (2, 13, 0)."""
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(n) for n in leading[0].split(".")) if leading else ()
