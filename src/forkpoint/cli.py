"""``forkpoint VERB ...``: parse, call, print. Each verb is a function; its docstring is its help.

Results go to stdout, everything else to stderr, and an error is one line there; ``exits`` lists the exit codes.
Imports stand inside the verbs, so that none pays for another's libraries: most work where torch is not installed.
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from forkpoint import __version__, catalog, exits, flags, terminal
from forkpoint.cli_models import decode, failures, probe
from forkpoint.config import Setting
from forkpoint.flags import AS_PUBLISHED, Names

if TYPE_CHECKING:
    from forkpoint.gates import Gate
    from forkpoint.papers import Paper
    from forkpoint.record.read import Run

ABOUT = """Measure, forecast and control the policy entropy of reasoning models.

Every verb has --help. --version prints the version; --debug adds the traceback to an error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    terminal.replace_unencodable()
    terminal.one_line_warnings()
    words = list(sys.argv[1:] if argv is None else argv)
    kept = [word for word in words if word != "--debug"]
    return exits.run(lambda: _dispatch(kept), debug=kept != words)


def demo(*, short: bool = False, out: str = "runs/demo", seed: int = 0) -> int:
    """Train plain GRPO beside an entropy-managed run, and write a page about both.

    Args:
        short: a few steps of each, only to see that everything works
        out: folder for the two runs and the page; a run that is already done there is kept
        seed: one seed, one demo
    """
    from forkpoint import progress
    from forkpoint.recipes.demo import configs
    from forkpoint.recipes.demo import demo as run_demo

    with progress.display() as show:
        page = run_demo(Path(out), short=short, seed=seed, show=show)
    for arm in configs(Path(out), short=short, seed=seed):
        terminal.note(progress.change(_open(arm.folder)))
    terminal.note("entropies in nats; one run each is a demonstration, not a result. The page to open in a browser:")
    terminal.say(page)
    return exits.DONE


def train(
    run: flags.RunFlags,
    *,
    config: str = "",
    print_config: bool = False,
    fail_if: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
) -> int:
    """Train a policy with a method, through TRL, and record the run.

    Args:
        config: YAML file of these settings; flags change what it says
        print_config: print the resolved config as YAML and stop
        fail_if: KEY<NUMBER, with < <= > or >=, and "for N": exit with 3 if it is true of the column's last (N) values
            when the run is done; repeatable
    """
    if print_config:
        import yaml

        print(yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False), end="")
        return exits.DONE
    from forkpoint.record.schema import HEADER

    if (run.folder / HEADER).exists() and not (run.overwrite or run.resume):
        remedy = "go on with it with --resume, replace it with --overwrite, or choose another --out"
        raise ValueError(f"{run.folder}: holds a run already; {remedy}")
    from forkpoint import alarms, doses, gates, progress
    from forkpoint.recipes.train import known_columns
    from forkpoint.recipes.train import train as run_training

    asked = [gates.parse(gate) for gate in fail_if]  # before the run: a misspelt one must not cost it
    if asked:
        gates.check_spelling(asked, known_columns(run))

    most_tokens = run.prompts_per_step * run.samples_per_prompt * run.max_tokens
    for note in doses.unlikely(run.method, most_tokens, run.settings):
        terminal.note(f"forkpoint: warning: {note}")

    # for module:function names; an installed script does not see the folder it is called in. Last: it shadows nothing
    sys.path.append(str(Path.cwd()))

    try:
        with progress.display() as show:
            folder = run_training(run, show=show, tell=terminal.note)
    except KeyboardInterrupt:
        terminal.note(f"forkpoint: {run.folder} can go on: the same command with --resume instead of --overwrite")
        raise
    terminal.say(folder)
    failed = bool(asked) and _failed_gates(_open(folder), asked)
    # by the last step: a run that was stopped once and resumed has an older alarm and is done
    stopped = run.on_alarm == "stop" and alarms.recorded(_open(folder).metrics("train")[-1:])
    return exits.GATE if failed or stopped else exits.DONE


def forecast(
    run: tyro.conf.Positional[str],
    *,
    anyway: bool = False,
    fail_if: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    json: bool = False,
) -> int:
    """Fit the law R = b - a exp(H) and its baselines to a run: the ceiling with an interval, and a backtest.

    Args:
        run: run folder
        anyway: fit a run whose method acts on entropy, where the law is not claimed
        fail_if: KEY<NUMBER, with < <= > or >=, and "for N": exit with 3 if it is true of the column's last (N) values;
            repeatable
        json: print JSON
    """
    from forkpoint import forecasts, gates, printed

    opened = _open(run)
    failed = _failed_gates(opened, [gates.parse(gate) for gate in fail_if])
    fits, backtest = forecasts.forecast(opened, anyway=anyway), printed.backtest_of(opened)
    if json:
        terminal.as_json({"run": opened.name, "fits": fits, "backtest": backtest})
    else:
        printed.fits(fits)
        terminal.say(backtest if isinstance(backtest, str) else printed.sentence(backtest))
    return exits.GATE if failed else exits.DONE


def report(runs: Names, *, out: str = "report.html") -> int:
    """Write one self-contained page about one or several runs.

    Args:
        runs: run folders; the first is the reference
        out: the page
    """
    if not runs:
        raise ValueError("report: name one run folder or several; forkpoint ls lists them")
    from forkpoint.report import page, write_page

    terminal.say(write_page(page([_open(run) for run in runs]), Path(out)))
    return exits.DONE


def methods(
    name: tyro.conf.Positional[str] = "",
    *,
    tokens: int | None = None,
    settings: dict[str, Setting] = AS_PUBLISHED,
    json: bool = False,
) -> int:
    """List the training methods, explain one or a composition such as hicra+kl_cov, or count the tokens of its shares.

    Args:
        name: one method, or several joined by +
        tokens: of one optimizer step; prints how many of them the method's shares stand for
        settings: with --tokens: the method's settings, where they differ from the paper's
        json: print JSON
    """
    from forkpoint import doses, explain, printed

    if (tokens is not None or settings) and not (name and tokens is not None):
        raise ValueError("methods: --tokens and --settings count the tokens of one method; name it, and give --tokens")
    if tokens is not None:
        found, notes = doses.doses(name, tokens, settings), doses.notes(name)
        told = [{"setting": setting, "sentence": sentence} for setting, sentence in notes]
        if json:
            terminal.as_json({"method": name, "tokens": tokens, "shares": found, "notes": told})
        else:
            printed.shares(name, tokens, found, notes)
        return exits.DONE
    chosen = [explain.facts(name)] if name else explain.table()
    if json:
        terminal.as_json(chosen)
    elif name:
        docs = [catalog.docstring("methods", part.name) for part in explain.parts_of(name)]
        for line in [chosen[0].summary] if len(docs) > 1 else docs[0].splitlines():
            terminal.say(line)
        terminal.table(("", name), explain.lines(chosen[0]))
    else:
        terminal.table(explain.COLUMNS, [explain.cells(facts) for facts in chosen])
    return exits.DONE


def ls(path: tyro.conf.Positional[str] = "runs", *, json: bool = False) -> int:
    """List the runs at or directly below a folder, with their last accuracy and entropy, and how many alarms.

    Args:
        path: folder
        json: print JSON
    """
    from forkpoint import printed
    from forkpoint.record import read

    if not Path(path).is_dir():
        raise ValueError(f"{path}: no such folder; forkpoint train puts its runs into runs/")
    rows = [printed.row(folder) for folder in read.find_runs(path)]
    if json:
        terminal.as_json(rows)
    elif rows:
        cells = [[terminal.number(v) if v is None or isinstance(v, float) else v for v in r.values()] for r in rows]
        terminal.table(tuple(rows[0]), cells, right=("steps", "accuracy", "entropy", "alarms"))
    else:
        terminal.note(f"no runs in {path}; forkpoint train makes one")
    return exits.DAMAGED if any(row["state"] == "damaged" for row in rows) else exits.DONE


def cite(names: Names = ()) -> int:
    """Print BibTeX of exactly what ran: the papers of the methods, their controllers and the task, and both programs.

    Args:
        names: run folders, methods or compositions; without any, the two programs
    """
    from forkpoint import papers

    cited = [paper for name in names for paper in _cited(name)]
    print(papers.bibliography([*cited, papers.get("trl"), papers.get("forkpoint")]))
    return exits.DONE


def doctor(run: tyro.conf.Positional[str] = "", *, repair: bool = False, json: bool = False) -> int:
    """Check this installation, or the files of a run.

    Args:
        run: run folder; without one, the installation is checked
        repair: put right what can be: damaged lines are moved to RUN/damaged, and each thing done is printed
        json: print JSON
    """
    if repair and not run:
        raise ValueError("--repair: name the run folder to repair; forkpoint ls lists them")
    return _check_run(run, json, repair) if run else _check_installation(json)


_LISTED = (demo, train, forecast, report, probe, decode, failures, methods, ls, cite, doctor)
VERBS: dict[str, Callable[..., int]] = {verb.__name__: verb for verb in _LISTED}


def _dispatch(words: list[str]) -> int:
    if words == ["--version"]:
        terminal.say(f"forkpoint {__version__}")
        return exits.DONE
    if not words or words[0] in ("-h", "--help"):
        with contextlib.suppress(SystemExit):
            tyro.extras.subcommand_cli_from_dict(VERBS, prog="forkpoint", description=ABOUT, args=["--help"])
        return exits.DONE if words else exits.USAGE
    if words[0] not in VERBS:
        raise ValueError(f"no verb {words[0]!r}; {catalog.suggest(words[0], list(VERBS))}")
    command = flags.bind(VERBS[words[0]], words[1:])
    return command() if command else exits.DONE


def _open(path: str | Path) -> "Run":
    from forkpoint.record import read

    if not Path(path).is_dir():
        raise ValueError(f"{path}: no such run folder; forkpoint ls lists the runs there are")
    return read.open_run(path)


def _failed_gates(run: "Run", asked: "Sequence[Gate]") -> bool:
    """Whether one of them tripped; each that did, or could not be judged, is a line."""
    from forkpoint import gates

    for line in [line for gate in asked if (line := gates.unjudged(gate, run))]:
        terminal.note(f"forkpoint: warning: gate {line}")
    told = [line for gate in asked if (line := gates.tripped(gate, run))]
    for line in told:
        terminal.note(f"forkpoint: gate failed: {line}")
    return bool(told)


def _cited(name: str) -> "list[Paper]":
    """The papers of a method, of ``a+b``, or of what ran in a run folder."""
    from forkpoint import papers

    known = catalog.names("methods")
    if all(part.strip() in known for part in name.split("+")):
        return papers.of_method(name)
    if not Path(name).exists():
        raise ValueError(f"{name}: neither a run folder nor a method; {catalog.suggest(name, known)}")
    header = _open(name).header
    found, unknown = papers.of_run(header["method"], header["task"])
    for part in unknown:
        terminal.note(f"{part} is not part of forkpoint; cite its own source as well")
    return found


def _check_run(path: str, json: bool, mend: bool) -> int:
    from forkpoint.record import check, repair

    done = repair.repair(path) if mend else []
    problems = check.check(path)
    if json:
        terminal.as_json({"repaired": done, "problems": problems} if mend else problems)
    else:
        for line in [*done, *problems] or [f"{path}: no problems"]:
            terminal.say(line)
    return exits.DAMAGED if problems else exits.DONE


def _check_installation(json: bool) -> int:
    from forkpoint import doctor as facts

    here, packages = facts.system(), facts.packages()
    if json:
        terminal.as_json({"forkpoint": __version__, **here, "packages": packages})
    else:
        terminal.table(("forkpoint", __version__), list(here.items()))
        rows = [(p.package, p.extra, p.needs, p.installed or "missing", p.remedy) for p in packages]
        terminal.table(("package", "extra", "needs", "installed", "to get it"), rows)
    return exits.DAMAGED if facts.policy_fault() else exits.DONE
