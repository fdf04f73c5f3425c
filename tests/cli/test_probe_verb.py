"""``forkpoint probe``: the table, the JSON, the page, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forkpoint.probes._samples import read
from tests.cli.conftest import SRC, Forkpoint
from tests.report.test_page import HOSTILE, Document

SMALL = ("--k", "4", "--problems", "4", "--max-tokens", "40")


def test_a_model_is_probed_and_a_second_time_only_read(forkpoint_: Forkpoint, monkeypatch: pytest.MonkeyPatch):
    told = forkpoint_("probe", "tiny", *SMALL, "--out", "here")
    assert (told.code, "pass@4" in told.out, told.out.splitlines()[-1]) == (0, True, "here/probe.html")
    samples, page = Path("here/samples.jsonl").read_bytes(), Path("here/probe.html").read_bytes()
    monkeypatch.setattr("forkpoint.probes._draw.chunk", None)
    again = forkpoint_("probe", "tiny", *SMALL, "--out", "here", "--json")
    stored = json.loads(again.out)["tiny"]
    assert stored["state"] == "done" and stored["asked"]["k"] == 4
    value = stored["readings"]["pass_at_k"]["values"]["pass@1"]
    assert value["low"] <= value["value"] <= value["high"] and value["unit"] == "share"
    assert (Path("here/samples.jsonl").read_bytes(), Path("here/probe.html").read_bytes()) == (samples, page)


def test_several_models_stand_side_by_side(forkpoint_: Forkpoint):
    told = forkpoint_("probe", "tiny", "tiny", *SMALL, "--out", "both")
    assert told.code == 0 and "tiny (2)" in told.out
    assert Path("both/tiny/samples.jsonl").read_bytes() == Path("both/tiny-2/samples.jsonl").read_bytes()
    document = Document(Path("both/probe.html").read_text())
    ids = [attributes.get("id") for attributes in document.attributes("section")]
    assert ids == ["findings", "reach", "answers", "clusters", "problems", "drawn"]


def test_a_scorer_of_one_s_own_is_found_in_the_folder(forkpoint_: Forkpoint):
    Path("mine_scores.py").write_text("def shorter(prompt, text):\n    return -len(text)\n")
    told = forkpoint_("probe", "tiny", *SMALL, "--scorer", "mine_scores:shorter", "--out", "here")
    assert told.code == 0 and "best_of_k: by shorter" in told.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["probe", "tiny", "--scorer", "breaks:here"], "scorer breaks:here: raised KeyError ('a key') for problem '"),
        (["probe", "tiny", "--entailment", "breaks:here"], "entailment breaks:here: raised KeyError ('a key') for pr"),
        (["probe", "tiny", "--kernel", "breaks:here"], "kernel breaks:here: raised KeyError ('a key') for problem '"),
        (["probe", "tiny", "--task", "breaks:here"], "task breaks:here: raised KeyError ('a key'); --debug"),
        (["decode", "tiny", "--task", "breaks:here"], "task breaks:here: raised KeyError ('a key'); --debug"),
        (["failures", "tiny", "tiny", "--task", "breaks:here"], "task breaks:here: raised KeyError ('a key'); --debug"),
        (["train", "--task", "breaks:here"], "task breaks:here: raised KeyError ('a key'); --debug"),
        (
            ["decode", "tiny", "--methods", "entropy_branching", "--settings", "scorer=math:fsum", "--budget", "99"],
            "scorer math:fsum: raised TypeError (",
        ),
        (
            ["decode", "tiny", "--methods", "abstractions", "--settings", "generator=breaks:here", "max_tokens=20"],
            "generator breaks:here: raised KeyError ('a key') for problem '",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_function_of_one_s_own_that_raises_is_named(words: list[str], says: str, forkpoint_: Forkpoint):
    Path("breaks.py").write_text("def here(*about):\n    return {}['a key']\n")
    small = {"probe": ("--k", "8", "--problems", "4"), "train": ("--steps", "1")}.get(words[0], ("--problems", "4"))
    told = forkpoint_(*words, *small, "--out", "here")
    assert (told.code, told.out) == (2, "")
    assert says in told.error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "probe: name one model or several"),
        (["./nowhere"], "model './nowhere': no such folder"),
        (["tiny", "--task", "countdwn"], "no 'countdwn' in tasks; did you mean 'countdown'?"),
        (["tiny", "--k", "0"], "--k 0: give 1 or more"),
        (["tiny", "--scorer", "best"], "scorer 'best': name a function of yours as module:function"),
        (["tiny", "--scorer", "no_such:one"], "scorer 'no_such:one': No module named 'no_such'"),
        (["tiny", "--temperature", "0"], "--temperature 0.0: give a number from 1e-06 to 1e+06"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_probed_is_one_line(words: list[str], says: str, forkpoint_: Forkpoint):
    told = forkpoint_("probe", *words)
    assert (told.code, told.out) == (2, "")
    assert says in told.error
    assert not Path("runs").exists()


@pytest.mark.parametrize("verb", ["probe", "decode", "failures"])
@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("made/nosuch", "model 'made/nosuch': no such folder; give 'tiny'"),
        ("not/made/either", "model 'not/made/either': no such folder; give"),
        ("made", "model 'made': holds no config.json; give"),
    ],
)
def test_a_mistyped_folder_is_told_without_the_hub(
    model: str, says: str, verb: str, forkpoint_: Forkpoint, monkeypatch: pytest.MonkeyPatch
):
    Path("made").mkdir()
    # what transformers would ask
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", None)
    told = forkpoint_(verb, *([model, model] if verb == "failures" else [model]))
    assert told.code == 2 and says in told.error


def test_samples_of_other_settings_are_refused_and_replaced_when_asked(forkpoint_: Forkpoint):
    assert forkpoint_("probe", "tiny", *SMALL, "--out", "here").code == 0
    more = ("probe", "tiny", "--k", "8", *SMALL[2:], "--out", "here")
    told = forkpoint_(*more)
    assert told.code == 2
    assert "here: holds samples with k = 4, and k = 8 is asked for; give the same settings" in told.error
    assert "--overwrite" in told.error and len(read(Path("here/samples.jsonl")).problems[0].texts) == 4
    assert forkpoint_(*more, "--overwrite").code == 0
    assert len(read(Path("here/samples.jsonl")).problems[0].texts) == 8
    Path("here/probe.json").unlink()
    assert "here: holds samples without probe.json" in forkpoint_(*more).error


def test_what_a_model_wrote_is_text_on_the_page(forkpoint_: Forkpoint):
    from forkpoint.probes import Drawn, Samples, readings
    from forkpoint.probes._asked import Asked
    from forkpoint.probes._page import probe_page
    from forkpoint.probes._run import Probed

    def made(texts: list[str], name: str) -> Probed:
        size = len(texts)
        one = Drawn(texts[0], texts[1], tuple(texts), tuple(texts), ("correct", "wrong") * (size // 2), (-1.0,) * size,
                    (1,) * size, traits=tuple({"way": text, texts[0]: text} for text in texts))  # fmt: skip
        samples = Samples((one, one))
        return Probed(name, Asked(name, name), Path(), samples, readings(samples))

    attacked, plain = HOSTILE[:24], [f"text {i}" for i in range(24)]
    hostile = Document(probe_page([made(attacked, "".join(attacked))]))
    harmless = Document(probe_page([made(plain, "plain")]))
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in harmless.tags}
    names = {name for _, attributes in hostile.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("srcdoc", "action")]


def test_no_answer_is_told_from_one_answer():
    from forkpoint.probes import Drawn, Samples, readings
    from forkpoint.probes._asked import Asked
    from forkpoint.probes._cells import remarks
    from forkpoint.probes._page import probe_page
    from forkpoint.probes._run import Probed

    def made(*answers: tuple[str | None, ...]) -> Probed:
        about = {"verdicts": ("wrong",) * 4, "logp": (-1.0,) * 4, "lengths": (1,) * 4}
        texts = ("a", "b", "c", "d")
        problems = [Drawn(f"p{i}", "p", texts, each, **about) for i, each in enumerate(answers)]
        samples = Samples(tuple(problems))
        return Probed("m", Asked("m", "m"), Path(), samples, readings(samples))

    mute, half = made((None,) * 4, (None,) * 4), made(("7",) * 4, (None,) * 4)
    page = probe_page([mute])
    assert "0.000 nats with m (0.0% of problems nearly always get one answer, and 100.0% none)" in page
    assert "1.000 among its wrong ones (100.0% of them hold none, which counts as one) with m" in page
    assert "clusters: 8 of 8 completions hold no answer, which counts as one" in remarks([mute])
    assert "(50.0% of problems nearly always get one answer, and 50.0% none)" in probe_page([half])
    told = probe_page([made(("7",) * 4)])
    assert "(100.0% of problems nearly always get one answer)" in told and "hold none" not in told


def test_ctrl_c_keeps_what_was_drawn_and_the_same_command_goes_on(tmp_path: Path):
    words = [sys.executable, "-m", "forkpoint", "probe", "tiny", "--k", "32", "--problems", "40", "--out"]
    environment = os.environ | {"PYTHONPATH": SRC}
    first = subprocess.Popen(
        [*words, "cut"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # a job in the background starts with SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    samples, started = tmp_path / "cut" / "samples.jsonl", time.monotonic()
    while not (samples.exists() and samples.stat().st_size) and time.monotonic() - started < 120:
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 130 and err.count("\n") == 1 and "stopped by" in err
    done = samples.read_bytes().count(b"\n")
    assert 0 < done < 40, done
    for out in ("cut", "whole"):
        assert subprocess.run([*words, out], cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    assert samples.read_bytes() == (tmp_path / "whole" / "samples.jsonl").read_bytes()
    # the pages name the same numbers; the documents differ in nothing
    assert (tmp_path / "cut/probe.json").read_bytes() == (tmp_path / "whole/probe.json").read_bytes()
