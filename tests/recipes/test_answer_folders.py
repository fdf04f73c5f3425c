"""The folders of ``decode``, ``probe`` and ``failures``: one process at a time, one question once there is a line."""

import json
import re
import shutil
from pathlib import Path

import pytest

from forkpoint import cli, exits
from forkpoint.policies import folder
from forkpoint.record._lock import Lock
from forkpoint.record.documents import read_document, write_document

FEW = ["--problems", "3"]
ASKED = {
    "decode": ["tiny", "--methods", "greedy", "--budget", "40", *FEW],
    "probe": ["tiny", "--k", "2", "--max-tokens", "20", *FEW],
    "failures": ["tiny", "tiny", "--k", "2", "--paths", "2", "--waits", "1", "--settings", "stop.threshold=0.1", *FEW],
}
LINES = {"decode": "problems.jsonl", "probe": "samples.jsonl", "failures": "before/samples.jsonl"}
FIRST = {"decode": "recipes.decode.asks", "probe": "probes._draw.chunk", "failures": "recipes.failures.paths"}
"""what each calls for its first line"""


@pytest.fixture(params=ASKED)
def verb(request):
    return request.param


def test_a_second_process_on_a_folder_is_refused_and_doubles_nothing(verb, tmp_path, capsys):
    words = [verb, *ASKED[verb], "--out", str(tmp_path)]
    assert cli.main(words) == exits.DONE
    before = (tmp_path / LINES[verb]).read_bytes()
    capsys.readouterr()
    lock = Lock(tmp_path)
    for more in ([], ["--overwrite"]):
        assert cli.main([*words, *more]) == exits.DAMAGED
        told = capsys.readouterr().err
        assert "is being written by process" in told and "--out" in told and told.count("\n") == 1
    assert (tmp_path / LINES[verb]).read_bytes() == before
    lock.release()
    assert cli.main(words) == exits.DONE and not (tmp_path / ".lock").exists()


def test_a_folder_without_a_line_takes_another_question(verb, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise ValueError("before the first line")

    words = [verb, *ASKED[verb], "--out", str(tmp_path)]
    with monkeypatch.context() as at_first:
        at_first.setattr(f"forkpoint.{FIRST[verb]}", stop)
        assert cli.main([*words, "--seed", "1"]) != exits.DONE
    assert read_document(tmp_path / f"{verb}.json")["asked"]["seed"] == 1
    assert cli.main(words) == exits.DONE
    assert read_document(tmp_path / f"{verb}.json")["asked"]["seed"] == 0
    assert cli.main([*words, "--seed", "1"]) == exits.USAGE and "seed = 0, and seed = 1 is" in capsys.readouterr().err


CHANGES = {
    "a line is missing": (lambda rows: [rows[0], *rows[2:]], "line 2: holds problem"),
    "a line is there twice": (lambda rows: [rows[0], *rows], "line 2: holds problem"),
    "all lines are there twice": (lambda rows: [*rows, *rows], ": holds problem"),
    "two lines changed places": (lambda rows: [rows[1], rows[0], *rows[2:]], "line 1: holds problem"),
    "a verdict was changed": (
        lambda rows: [re.sub(rb"correct|wrong", b"none", rows[0]), *rows[1:]],
        "line 1: checksum",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_lines_that_were_changed_are_named_and_kept(change, verb, tmp_path, capsys):
    words = [verb, *ASKED[verb], "--out", str(tmp_path)]
    assert cli.main(words) == exits.DONE
    file, (changed, says) = tmp_path / LINES[verb], CHANGES[change]
    whole = file.read_bytes()
    file.write_bytes(b"".join(changed(whole.splitlines(keepends=True))))
    before = file.read_bytes()
    capsys.readouterr()
    for _ in range(2):
        assert cli.main(words) == exits.USAGE
        told = capsys.readouterr().err
        assert f"{file}: line " in told and says in told and "--overwrite" in told and told.count("\n") == 1
        assert ("a second time" in told) == ("twice" in change)
    assert file.read_bytes() == before
    assert cli.main([*words, "--overwrite"]) == exits.DONE and file.read_bytes() == whole


def test_the_last_lines_of_a_file_are_made_again(verb, tmp_path):
    words = [verb, *ASKED[verb], "--out", str(tmp_path)]
    assert cli.main(words) == exits.DONE
    whole = (tmp_path / LINES[verb]).read_bytes()
    (tmp_path / LINES[verb]).write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    assert cli.main(words) == exits.DONE and (tmp_path / LINES[verb]).read_bytes() == whole


def test_lines_of_an_older_version_are_refused(verb, tmp_path, capsys):
    words = [verb, *ASKED[verb], "--out", str(tmp_path)]
    assert cli.main(words) == exits.DONE
    write_document(tmp_path / f"{verb}.json", read_document(tmp_path / f"{verb}.json") | {"schema": 1})
    assert cli.main(words) == exits.USAGE and "as another version of forkpoint writes them" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["chat template", "normalizer", "special token"])
def test_an_edited_tokenizer_is_refused(change, verb, tmp_path, capsys):
    model = Path(shutil.copytree(folder("tiny"), tmp_path / "model"))
    words = [str(model) if word == "tiny" else word for word in ASKED[verb]]
    words = [verb, *words, "--out", str(tmp_path / "out")]
    assert cli.main(words) == cli.main(words) == exits.DONE
    if change == "chat template":
        (model / "chat_template.jinja").write_text("{{ messages[0]['content'] }} ")
    else:
        file = "tokenizer.json" if change == "normalizer" else "tokenizer_config.json"
        stored = json.loads((model / file).read_text())
        stored |= {"normalizer": {"type": "Lowercase"}} if change == "normalizer" else {"sep_token": "try"}
        (model / file).write_text(json.dumps(stored))
    capsys.readouterr()
    assert cli.main(words) == exits.USAGE
    told = capsys.readouterr().err
    assert "of another tokenizer or chat template than the model has now" in told and told.count("\n") == 1
