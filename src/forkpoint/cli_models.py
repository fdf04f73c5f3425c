"""The verbs of ``forkpoint.cli`` that load models and draw from them: ``decode``, ``probe`` and ``failures``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from forkpoint import exits, terminal
from forkpoint.config import Setting
from forkpoint.flags import AS_PUBLISHED, Names

if TYPE_CHECKING:
    from forkpoint.recipes._decode_told import Told


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
    think_again: str = "",
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
        think_begin: text that begins thinking; give think-end too
        think_end: text that ends thinking, in place of what task or tokenizer say; the task's other texts stay
        think_again: text that makes thinking go on; where none is given the task's, or Wait
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
    think_again: str = "",
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
        think_begin: text that begins thinking; give think-end too
        think_end: text that ends thinking, in place of what task or tokenizer say; the task's other texts stay
        think_again: text that makes thinking go on; where none is given the task's, or Wait
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
