"""Drawing samples: each chunk for itself, on disk as it goes, and the same however often it was cut off."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from forkpoint.policies import folder, load
from forkpoint.probes import _draw
from forkpoint.probes._asked import Asked
from forkpoint.probes._draw import draw
from forkpoint.probes._run import SAMPLES, probe
from forkpoint.probes._samples import read
from forkpoint.tasks.countdown import countdown

ASKED = Asked("tiny", "countdown", problems=6, k=4, crossed=3)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return load("tiny")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch):
    """Two problems at a time: three chunks."""
    monkeypatch.setattr(_draw, "ROWS", 8)


@pytest.fixture
def whole(tiny: Any, tmp_path: Path) -> bytes:
    path = tmp_path / "whole.jsonl"
    draw((*tiny, countdown(), ASKED), path)
    return path.read_bytes()


def test_samples_hold_what_was_drawn(tiny: Any, tmp_path: Path):
    task = countdown()
    samples = draw((*tiny, task, ASKED), tmp_path / "s.jsonl")
    assert read(tmp_path / "s.jsonl") == samples
    assert len({one.id for one in samples.problems}) == 6 and samples.crossed is not None
    assert len(samples.crossed.ids) == 3
    for one in samples.problems:
        problem = task.read(one.prompt)
        assert one.tokens is not None and one.entropy is not None and len(one.texts) == 4
        assert [len(row) for row in one.tokens] == list(one.lengths)
        assert one.texts == tuple(tiny[1].batch_decode(list(one.tokens), skip_special_tokens=True))
        assert one.verdicts == tuple(task.score(problem, text).outcome for text in one.texts)
        assert all(value <= 0 for value in one.logp) and all(value > 0 for value in one.entropy)


def test_the_log_prob_is_the_model_s_own(tiny: Any, tmp_path: Path):
    model, tokenizer = tiny
    one = draw((*tiny, countdown(), replace(ASKED, problems=1)), tmp_path / "s.jsonl").problems[0]
    assert one.tokens is not None
    prompt = tokenizer(one.prompt)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *one.tokens[0]]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(one.tokens[0])[:, None]).sum()
    assert one.logp[0] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("cut", ["begun", "chunk", "half a chunk", "torn line", "all but the crossing"])
def test_interrupted_and_resumed_is_uninterrupted(cut: str, whole: bytes, tiny: Any, tmp_path: Path):
    path = tmp_path / "cut.jsonl"
    lines = whole.splitlines(keepends=True)
    keep = {"begun": 0, "chunk": 2, "half a chunk": 3, "torn line": 4, "all but the crossing": 6}[cut]
    path.write_bytes(b"".join(lines[:keep]) + (lines[keep][:50] if cut == "torn line" else b""))
    draw((*tiny, countdown(), ASKED), path)
    assert path.read_bytes() == whole


def test_a_signal_between_chunks_loses_nothing(whole: bytes, tiny: Any, tmp_path: Path):
    path = tmp_path / "cut.jsonl"

    def stop(done: int, asked: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw((*tiny, countdown(), ASKED), path, show=stop)
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:2])
    seen = []
    draw((*tiny, countdown(), ASKED), path, show=lambda done, asked: seen.append((done, asked)))
    assert path.read_bytes() == whole and seen == [(4, 6), (6, 6)]


def test_a_chunk_does_not_depend_on_the_others(whole: bytes, tiny: Any, tmp_path: Path):
    draw((*tiny, countdown(), replace(ASKED, problems=4, crossed=0)), tmp_path / "fewer.jsonl")
    assert (tmp_path / "fewer.jsonl").read_bytes() == b"".join(whole.splitlines(keepends=True)[:4])


def test_another_seed_draws_other_samples(whole: bytes, tiny: Any, tmp_path: Path):
    draw((*tiny, countdown(), replace(ASKED, seed=1)), tmp_path / "other.jsonl")
    assert (tmp_path / "other.jsonl").read_bytes() != whole


def test_the_random_state_is_nobody_else_s(tiny: Any, tmp_path: Path):
    before = torch.random.get_rng_state()
    draw((*tiny, countdown(), replace(ASKED, problems=1)), tmp_path / "s.jsonl")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"problems": 0}, "--problems 0: give 1 or more"),
        ({"k": 0}, "--k 0: give 1 or more"),
        ({"max_tokens": -1}, "--max-tokens -1: give 1 or more"),
        ({"temperature": 0.0}, "--temperature 0.0: give a number from 1e-06 to 1e+06"),
        ({"temperature": 1e-40}, "--temperature 1e-40: give a number from 1e-06 to 1e+06"),
        ({"temperature": float("nan")}, "--temperature nan: give a number from 1e-06 to 1e+06"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"problems": 10**4}, "--problems 10000: the test split of countdown has"),
        ({"max_tokens": 10**6}, "lower --max-tokens"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(change: dict[str, Any], says: str, tiny: Any, tmp_path: Path):
    with pytest.raises(ValueError) as caught:
        draw((*tiny, countdown(), replace(ASKED, **change)), tmp_path / "s.jsonl")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_whose_log_probs_are_no_numbers_is_named(tmp_path: Path):
    model, tokenizer = load("tiny")
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"model 'tiny': log-probs that are not finite, at problem '.*'; its weights"):
        draw((model, tokenizer, countdown(), ASKED), tmp_path / "s.jsonl")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The shipped policy in a folder of its own, to be changed."""
    return Path(shutil.copytree(folder("tiny"), tmp_path / "model"))


def without(path: Path, *keys: str) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in config.items() if key not in keys}))


@pytest.mark.parametrize("token", ["pad_token", "eos_token"])
def test_a_tokenizer_that_lacks_a_token_is_drawn_from_as_another(token: str, copied: Path, tmp_path: Path):
    """One end is enough, the model's or the tokenizer's, and padding is behind a mask."""
    asked = replace(ASKED, max_tokens=8)
    (whole,) = probe([str(copied)], asked, tmp_path / "whole")
    without(copied / "tokenizer_config.json", token)
    (lacking,) = probe([str(copied)], asked, tmp_path / "lacking")
    assert [one.tokens for one in lacking.samples.problems] == [one.tokens for one in whole.samples.problems]
    assert lacking.samples.crossed == whole.samples.crossed


def test_a_model_without_any_end_is_named_before_the_first_token(copied: Path, tmp_path: Path):
    without(copied / "tokenizer_config.json", "eos_token")
    for name in ("config.json", "generation_config.json"):
        without(copied / name, "eos_token_id")
    with pytest.raises(ValueError, match=r"^model '.*': neither its config nor its tokenizer names an end") as caught:
        probe([str(copied)], ASKED, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out" / SAMPLES).exists()


def test_a_tokenizer_that_knows_more_than_the_model_is_refused_before_the_first_token(copied: Path, tmp_path: Path):
    model, tokenizer = load(str(copied))
    tokenizer.add_tokens(["more"])
    with pytest.raises(ValueError, match=r"^model 'tiny': its tokenizer has ids up to \d+ and it knows \d+; load"):
        draw((model, tokenizer, countdown(), ASKED), tmp_path / "s.jsonl")
    assert not (tmp_path / "s.jsonl").exists()


def test_samples_of_other_weights_are_refused(copied: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    asked = replace(ASKED, problems=1, k=2)
    probe([str(copied)], asked, tmp_path / "out")
    weights = load_file(copied / "model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in weights.items()}, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="holds samples of other weights than"):
        probe([str(copied)], asked, tmp_path / "out")
    probe([str(copied)], asked, tmp_path / "out", overwrite=True)
