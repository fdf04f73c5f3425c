"""What the papers claim, where, and what we made of it: one TOML file per paper, and the BibTeX made from it.

``status`` of a claim, from strongest to weakest:
  exact         a formula, and a test of ours checks it
  recomputed    a number, computed again from data the authors released
  replicated    an effect, seen again in runs of our own with several seeds
  quoted        taken from the paper, not checked here
  inconclusive  looked for here, and our runs cannot tell it from its absence, or show a part of it
  contradicted  checked here, and it came out otherwise
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from forkpoint import catalog, signatures

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STATUSES = ("exact", "recomputed", "replicated", "quoted", "inconclusive", "contradicted")
CHECKED = ("exact", "recomputed", "replicated", "inconclusive", "contradicted")
"""statuses that must name the test or study behind them"""
HOME = Path(__file__).parent

Record = TypeVar("Record")


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, in our words."""

    text: str
    status: str
    value: str = ""
    """the number as published, with its unit"""
    where: str = ""
    """table, figure, equation or section; empty where not located"""
    checked_by: str = ""
    """``path::function`` of the test or study in this repository; empty while quoted"""
    notes: str = ""


@dataclass(frozen=True)
class Paper:
    """A source, and what it claims."""

    id: str
    """arXiv id, or the short name of a program"""
    title: str
    authors: tuple[str, ...]
    year: int
    key: str
    """BibTeX key"""
    type: str = "misc"
    """BibTeX entry type"""
    url: str = ""
    bibtex: Mapping[str, str] | None = None
    """further BibTeX fields, such as ``booktitle``"""
    claim: tuple[Claim, ...] = ()


def names() -> list[str]:
    """Ids of all sources.

    >>> "2505.22617" in names()
    True
    """
    return sorted(path.stem for path in HOME.glob("*.toml"))


def get(paper: str) -> Paper:
    """One source. Raises ValueError naming the file and field where it is malformed, or the nearest id."""
    if paper not in names():
        raise ValueError(f"no paper {paper!r}; {catalog.suggest(paper, names())}")
    return parse((HOME / f"{paper}.toml").read_text(encoding="utf-8"), where=f"{paper}.toml")


def parse(text: str, *, where: str = "paper") -> Paper:
    """A source from TOML text."""
    raw: dict[str, Any] = tomllib.loads(text)
    claims = tuple(_record(Claim, c, f"{where}: claim {i}") for i, c in enumerate(raw.pop("claim", []), 1))
    for number, claim in enumerate(claims, 1):
        if claim.status not in STATUSES:
            choices = catalog.suggest(claim.status, list(STATUSES))
            raise ValueError(f"{where}: claim {number}: no status {claim.status!r}; {choices}")
        if (claim.status in CHECKED) != bool(claim.checked_by):
            raise ValueError(f"{where}: claim {number}: {claim.status} and checked_by = {claim.checked_by!r} disagree")
    return _record(Paper, {**raw, "authors": tuple(raw.get("authors", ())), "claim": claims}, where)


def of_method(name: str) -> list[Paper]:
    """The papers that a method, or each part of ``a+b``, comes from: those that the first lines of its docstring and of
    its controllers' name. ValueError for a name that is none.

    >>> [paper.key for paper in of_method("kl_cov")]
    ['cui2025entropy']
    """
    parts = [signatures.declared("methods", part.strip()) for part in name.split("+")]
    controllers = [
        signatures.declared("controllers", controller, builds="Controller")
        for part in parts
        for controller in part.uses.get("controllers", ())
    ]
    return [get(source) for source in dict.fromkeys(s for found in (*parts, *controllers) for s in found.sources)]


def of_run(method: Mapping[str, Any], task: str) -> tuple[list[Paper], list[str]]:
    """The papers of what a run's header says ran, and what of it is not part of forkpoint: ``module:function``.

    A run that was only watched ran the trainer's own loss, told by its ``loss_type`` and the features it switched on.

    >>> settings = {"loss_type": "dapo", "top_entropy_quantile": 0.2}
    >>> papers, unknown = of_run({"name": "trl", "settings": settings}, "countdown")
    >>> [paper.key for paper in papers], unknown
    (['yu2025dapo', 'wang2025beyond'], [])
    """
    names, tasks = str(method["name"]).split("+"), [task] if task in catalog.names("tasks") else []
    if names == ["trl"]:
        names = [name for name in _stock_parts(method["settings"]) if name in catalog.names("methods")]
    known = [name for name in names if name in catalog.names("methods")]
    found = [paper for name in known for paper in of_method(name)]
    found += [get(source) for name in tasks for source in _sources_of_task(name)]
    return found, [name for name in names if name not in known]


def _stock_parts(settings: Mapping[str, Any]) -> list[str]:
    """The methods of ours that say what a stock trainer's settings do."""
    features = {
        "rloo": settings.get("baseline") == "rloo",
        "gspo": settings.get("importance_sampling_level") == "sequence",
        "forking_tokens": settings.get("top_entropy_quantile", 1.0) != 1.0,
        "skywork": settings.get("use_adaptive_entropy", False),
        "entropy_bonus": settings.get("entropy_coef", 0.0) != 0.0 and not settings.get("use_adaptive_entropy", False),
        "dapo": "epsilon_high" in settings,
    }
    return list(dict.fromkeys([str(settings.get("loss_type")), *(name for name, on in features.items() if on)]))


def _sources_of_task(name: str) -> list[str]:
    first = catalog.summary("tasks", name)
    return [source for source in signatures.ARXIV.findall(first) if source in names()]


def bibtex(paper: Paper) -> str:
    """One BibTeX entry.

    >>> print(bibtex(get("1707.06347")))
    @misc{schulman2017proximal,
      title = {{Proximal Policy Optimization Algorithms}},
      author = {John Schulman and Filip Wolski and Prafulla Dhariwal and Alec Radford and Oleg Klimov},
      year = {2017},
      eprint = {1707.06347},
      archivePrefix = {arXiv},
      url = {https://arxiv.org/abs/1707.06347},
    }
    """
    # double braces: BibTeX styles lower-case a title's capitals, and LLM would come out as llm
    entry = {"title": f"{{{paper.title}}}", "author": " and ".join(paper.authors), "year": str(paper.year)}
    if signatures.ARXIV.fullmatch(paper.id):
        entry |= {"eprint": paper.id, "archivePrefix": "arXiv"}
    entry |= {"url": paper.url, **(paper.bibtex or {})}
    lines = [f"  {field} = {{{value}}}," for field, value in entry.items() if value]
    return "\n".join([f"@{paper.type}{{{paper.key},", *lines, "}"])


def bibliography(papers: Iterable[Paper]) -> str:
    """Entries in order, each once."""
    return "\n\n".join(bibtex(paper) for paper in {p.id: p for p in papers}.values())


def _record(kind: type[Record], values: Mapping[str, Any], where: str) -> Record:
    """A dataclass from a table, with errors that name the field."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]  # Claim or Paper
    for name in values:
        if name not in known:
            raise ValueError(f"{where}: no field {name!r}; {catalog.suggest(name, list(known))}")
    for name, field in known.items():
        if field.default is MISSING and not values.get(name):
            raise ValueError(f"{where}: field {name!r} is missing")
    return kind(**values)
