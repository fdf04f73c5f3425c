"""The command line itself: help, flags, every way it ends, and that nothing a run holds can steer the terminal."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import forkpoint
from forkpoint import exits, gates, terminal
from forkpoint.cli import VERBS
from forkpoint.record import RecordError, RunWriter, open_run
from tests.cli.conftest import GRPO, SRC, Forkpoint, write_run

# ---- the frame: help, verbs, flags, exit codes


def test_help_lists_every_verb(forkpoint_: Forkpoint):
    told = forkpoint_("--help")
    assert told.code == 0
    assert all(f"• {verb} " in told.out for verb in VERBS)


def test_no_verb_is_a_usage_error_that_shows_the_help(forkpoint_: Forkpoint):
    told = forkpoint_()
    assert (told.code, "usage: forkpoint" in told.out) == (2, True)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_every_flag_is_explained(verb: str, forkpoint_: Forkpoint):
    told = forkpoint_(verb, "--help")
    assert told.code == 0
    assert f"usage: forkpoint {verb}" in told.out
    explained = set(re.findall(r"^ +(\w+): ", VERBS[verb].__doc__ or "", re.MULTILINE))
    own = {name for name in inspect.signature(VERBS[verb]).parameters if (verb, name) != ("train", "run")}
    assert explained == own


def test_pairs_after_every_settings_count(forkpoint_: Forkpoint):
    words = "--method hicra --settings alpha=0 --seed 3 --settings baseline=host --print-config"
    told = forkpoint_("train", *words.split()).out
    assert "alpha: 0" in told and "baseline: host" in told and "seed: 3" in told


def test_the_version_is_the_package_s(forkpoint_: Forkpoint):
    assert forkpoint_("--version").out == f"forkpoint {forkpoint.__version__}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lss"], "no verb 'lss'; did you mean 'ls'?"),
        (["ls", "--jsn"], "Unrecognized options: --jsn; did you mean --json? see forkpoint ls --help"),
        (["train", "--stpes", "3"], "Unrecognized options: --stpes, 3; did you mean --steps?"),
        (["train", "--steps", "ten"], "Error parsing --steps: invalid literal for int() with base 10: 'ten'"),
        (["train", "--steps", "0"], "--steps 0: input should be greater than 0"),
        (["train", "--settings", "share"], "Error parsing --settings: 'share' is no NAME=VALUE such as coef=0.5"),
        (["forecast"], "Missing from forkpoint forecast: RUN"),
        (["forecast", "nowhere"], "nowhere: no such run folder"),
        (["report"], "report: name one run folder"),
        (["ls", "nowhere"], "nowhere: no such folder"),
        (["methods", "kl_vov"], "no 'kl_vov' in methods; did you mean 'kl_cov'?"),
        (["cite", "kl_vov"], "kl_vov: neither a run folder nor a method; did you mean 'kl_cov'?"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_a_wrong_command_line_is_one_line_that_names_the_remedy(words: list[str], says: str, forkpoint_: Forkpoint):
    told = forkpoint_(*words)
    assert (told.code, told.out) == (2, "")
    assert says in told.error


def test_debug_adds_the_traceback_wherever_it_stands(forkpoint_: Forkpoint):
    for words in (["--debug", "ls", "nowhere"], ["ls", "nowhere", "--debug"]):
        told = forkpoint_(*words)
        assert told.code == 2
        assert "Traceback (most recent call last)" in told.err
        assert told.err.endswith("puts its runs into runs/\n")


def damaged() -> int:
    raise RecordError("is damaged", file="run.json", remedy="restore it")


def out_of_memory() -> int:
    raise RuntimeError("no memory left\non the device")


def test_a_failure_names_its_kind_in_one_line(capsys: pytest.CaptureFixture[str]):
    assert exits.run(out_of_memory) == 1
    told = capsys.readouterr().err
    assert told == "forkpoint: error: RuntimeError: no memory left on the device; --debug shows where\n"


def test_the_code_tells_a_wrong_command_from_a_failed_run_from_damaged_data(capsys: pytest.CaptureFixture[str]):
    assert exits.run(lambda: len(gates.parse("nonsense"))) == 2
    assert exits.run(lambda: json.loads("{")) == 1, "a ValueError, but of a library in the middle of its work"
    assert exits.run(damaged) == 4
    assert capsys.readouterr().err.endswith("forkpoint: error: run.json: is damaged; restore it\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_record_as_stopped(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
):
    def training() -> int:
        with RunWriter.create(
            tmp_path / "run", name="r", config={}, method=GRPO, task="t", seed=0, definitions={}
        ) as run:
            run.metrics("train", 1, {"reward": 0.5})
            os.kill(os.getpid(), number)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:  # the handler runs between two bytecodes
                pass
        return 0

    if number == signal.SIGINT:  # a job in the background starts with SIGINT ignored
        request.addfinalizer(partial(signal.signal, number, signal.signal(number, signal.default_int_handler)))
    before = signal.getsignal(number)
    assert exits.run(training) == 128 + number
    assert signal.getsignal(number) == before
    assert open_run(tmp_path / "run").status["state"] == "stopped"
    assert capsys.readouterr().err == f"forkpoint: stopped by {number.name}; what was recorded is kept\n"


def test_a_reader_that_closes_the_pipe_ends_the_command_quietly():
    with subprocess.Popen(
        [sys.executable, "-m", "forkpoint", "methods"],
        env={**os.environ, "PYTHONPATH": SRC},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 128 + signal.SIGPIPE


def test_a_pipe_that_breaks_elsewhere_is_a_failed_run(capsys: pytest.CaptureFixture[str]):
    def worker_is_gone() -> int:
        raise BrokenPipeError("worker 3")

    assert exits.run(worker_is_gone) == 1
    assert "worker 3" in capsys.readouterr().err


def test_a_terminal_that_cannot_show_a_character_gets_a_question_mark():
    env = {**os.environ, "PYTHONPATH": SRC, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "forkpoint", "cite"], env=env, capture_output=True, check=True)
    assert b"Quentin Gallou?dec" in done.stdout


# ---- what a run holds cannot steer the terminal

HOSTILE = "\x1b]0;title\x07\x1b[2J[/b][red]\u202etxt\nforkpoint: done\u2028\ud800"


def test_text_from_a_run_reaches_the_terminal_inert(forkpoint_: Forkpoint):
    hostile = HOSTILE.replace("\ud800", "")  # a lone surrogate is no JSON
    write_run(Path("runs/run"), method={"name": hostile, "settings": {}, "intervenes": False})
    for words in (["ls"], ["ls", "--json"], ["cite", "runs/run"]):
        told = forkpoint_(*words)
        shown = told.out + told.err
        assert all(c.isprintable() or c == "\n" for c in shown)
        assert not re.search(r"^forkpoint: done", shown, re.MULTILINE)
    assert "[/b][red]" in forkpoint_("ls").out


def test_a_hostile_word_on_the_command_line_is_inert_too(forkpoint_: Forkpoint):
    for words in ([HOSTILE], ["ls", HOSTILE], ["ls", f"--{HOSTILE}"], ["forecast", HOSTILE]):
        told = forkpoint_(*words)
        assert told.code == 2
        assert all(c.isprintable() or c == "\n" for c in told.err)
        assert told.err.count("\n") == 1


def test_json_is_strict_whatever_the_values(capsys: pytest.CaptureFixture[str]):
    terminal.as_json({"a": float("nan"), "b": np.float32("inf"), "c": np.arange(2), "d": HOSTILE, "e": Path("x")})
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": "nan", "b": "inf", "c": [0, 1], "d": HOSTILE, "e": "x"}
