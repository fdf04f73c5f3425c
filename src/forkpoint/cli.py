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
from forkpoint.config import Setting

if TYPE_CHECKING:
    from forkpoint.gates import Gate
    from forkpoint.papers import Paper
    from forkpoint.recipes._decode_told import Told
    from forkpoint.record.read import Run

Names = tyro.conf.Positional[tuple[str, ...]]
AS_PUBLISHED: dict[str, Setting] = {}
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
    from forkpoint import alarms, gates, progress
    from forkpoint.recipes.train import train as run_training

    asked = [gates.parse(gate) for gate in fail_if]  # before the run: a misspelt one must not cost it

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


def decode(
    model: tyro.conf.Positional[str],
    *,
    task: str = "countdown",
    methods: str = "greedy,sample,parallel_vote",
    budget: str = "256",
    problems: int = 64,
    seed: int = 0,
    settings: dict[str, Setting] = AS_PUBLISHED,
    think_begin: str = "",
    think_end: str = "",
    think_again: str = "Wait",
    chat: bool = False,
    out: str = "runs/decode",
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Compare ways to spend tokens at inference: accuracy against every token that was read, kept or thrown away.

    Args:
        model: 'tiny', a folder, or a Hub id
        task: what the problems are, of its test split
        methods: decoders, DECODER+parallel_vote, or NAME=DECODER, by commas; the others are paired with the first
        budget: tokens per problem, its prompt included; several, the smallest first, joined by commas
        problems: how many problems
        seed: of the draws
        settings: SETTING=VALUE for every decoder that has it, DECODER.SETTING=VALUE for one
        think_begin: text that begins thinking, where neither task nor tokenizer say
        think_end: text that ends thinking
        think_again: text that makes thinking go on
        chat: put prompts through the tokenizer's chat template
        out: folder for the answers, the numbers and the page; the same command goes on where it was stopped
        overwrite: replace answers that were made with other settings
        json: print JSON
    """
    from forkpoint import progress
    from forkpoint.recipes._decode_told import told
    from forkpoint.recipes.decode import asked_for
    from forkpoint.recipes.train import quiet_libraries

    quiet_libraries()
    sys.path.append(str(Path.cwd()))
    about = {"model": model, "task": task, "problems": problems, "seed": seed, "settings": settings, "chat": chat}
    asked = asked_for(methods, budget, (think_begin, think_end, think_again), **about)
    with progress.counter("answers") as show:
        found = told(asked, Path(out), overwrite=overwrite, show=show)
    return _answered(found, json)


def probe(
    models: Names,
    *,
    task: str = "countdown",
    k: int = 64,
    problems: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
    max_tokens: int = 56,
    chat: bool = False,
    scorer: str = "",
    entailment: str = "",
    kernel: str = "",
    out: str = "runs/probe",
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Sample one model or several and say how wide they still are: pass@k, votes, entropies, diversity, with intervals.

    Args:
        models: 'tiny', folders, or Hub ids
        task: what the problems are, of its test split
        k: completions of each problem
        problems: how many problems
        seed: of the draws
        temperature: of the draws; 1 is as trained
        max_tokens: longest completion
        chat: put prompts through the tokenizer's chat template
        scorer: module:function (prompt, text) -> number, for best@k; log-prob per token where none is named
        entailment: module:function (answer, answer) -> bool, for semantic entropy; equality where none is named
        kernel: module:function (text, text) -> similarity, for the Vendi score; n-gram cosine where none is named
        out: folder for the samples, the numbers and the page; the same command goes on where it was stopped
        overwrite: replace samples that were drawn with other settings
        json: print JSON
    """
    from forkpoint import progress
    from forkpoint.probes._asked import Asked
    from forkpoint.probes._told import told
    from forkpoint.recipes.train import quiet_libraries

    quiet_libraries()
    sys.path.append(str(Path.cwd()))
    asked = Asked("", task, problems, k, seed, temperature, max_tokens, chat=chat)
    functions = {"scorer": scorer, "entailment": entailment, "kernel": kernel}
    with progress.counter("problems sampled") as show:
        found = told(models, asked, Path(out), functions=functions, overwrite=overwrite, show=show)
    if json:
        terminal.as_json(found.as_json)
    else:
        terminal.table(found.head, found.rows, right=found.head[1:-1])
        for note in found.notes:
            terminal.note(note)
        terminal.say(found.page)
    return exits.DONE


def failures(
    models: Names,
    *,
    task: str = "countdown",
    waits: str = "1,2,3",
    long: int = 0,
    lengths: str = "",
    problems: int = 64,
    k: int = 32,
    paths: int = 8,
    max_tokens: int = 56,
    seed: int = 0,
    settings: dict[str, Setting] = AS_PUBLISHED,
    think_begin: str = "",
    think_end: str = "",
    think_again: str = "Wait",
    chat: bool = False,
    out: str = "runs/failures",
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Put what training took beside what longer thinking adds, and say which remedy belongs to which.

    Args:
        models: before training, after it, and, to cross the remedies, after training that kept its entropy
        task: what the problems are, of its test split
        waits: how often the end of thinking is kept from coming, by commas, the least first
        long: which of the waits is the long thinking that remedies are compared with; 0 is the last
        lengths: exact lengths of thinking in tokens, by commas, the shortest first
        problems: how many problems
        k: completions of each problem for pass@k
        paths: completions of each problem for each way of thinking
        max_tokens: longest completion; each wait may take as many again
        seed: of the draws
        settings: SETTING=VALUE for every decoder that has it; stop.threshold, where it is not to be calibrated
        think_begin: text that begins thinking, where neither task nor tokenizer say
        think_end: text that ends thinking
        think_again: text that makes thinking go on
        chat: put prompts through the tokenizer's chat template
        out: folder for the completions, the numbers and the page; the same command goes on where it was stopped
        overwrite: replace completions that were drawn with other settings
        json: print JSON
    """
    from forkpoint import progress
    from forkpoint.recipes._failures_told import told
    from forkpoint.recipes.failures import asked_for
    from forkpoint.recipes.train import quiet_libraries

    quiet_libraries()
    sys.path.append(str(Path.cwd()))
    about = {"task": task, "problems": problems, "k": k, "paths": paths, "max_tokens": max_tokens, "seed": seed}
    about |= {"settings": settings, "chat": chat}
    counts = {"waits": waits, "lengths": lengths}
    asked = asked_for(models, counts, (think_begin, think_end, think_again), long=long, **about)
    with progress.counter("problems of all files") as show:
        found = told(asked, Path(out), overwrite=overwrite, show=show)
    return _answered(found, json)


def methods(
    name: tyro.conf.Positional[str] = "",
    *,
    tokens: int = 0,
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

    if (tokens or settings) and not (name and tokens):
        raise ValueError("methods: --tokens and --settings count the tokens of one method; name it, and give --tokens")
    if tokens:
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


def _answered(found: "Told", json: bool) -> int:
    if json:
        terminal.as_json(found.as_json)
    else:
        for head, rows in found.tables:
            terminal.table(head, rows, right=head[1:])
        for note in found.notes:
            terminal.note(note)
        terminal.say(found.page)
    return exits.DONE


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
    """Whether one of them tripped; each that did is a line."""
    from forkpoint import gates

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
