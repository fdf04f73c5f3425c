"""The whole line, small: configuration to run folder, twice, and what goes wrong in one line."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from forkpoint.config import RunConfig, make_config, read_config
from forkpoint.policies import folder, load
from forkpoint.recipes.demo import ARMS, configs
from forkpoint.recipes.side_by_side import ArmFailed, is_done, side_by_side
from forkpoint.recipes.tiny_policy import Recipe, tiny_policy
from forkpoint.recipes.train import TaskReward, disk_note, train
from forkpoint.record import RecordError, open_run
from forkpoint.report import page
from forkpoint.tasks import Task, Verdict
from forkpoint.tasks.countdown import countdown

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
SMALL = {"steps": 2, "prompts_per_step": 2, "eval_problems": 2, "eval_samples": 2, "eval_every": 1, "threads": 1}


def test_a_run_leaves_a_record_with_everything_the_page_needs(tmp_path):
    config = RunConfig(method="kl_cov", settings={"share": 0.1}, out=str(tmp_path / "run"), **SMALL)
    run = open_run(train(config))
    assert run.status["state"] == "done"
    settings = {"share": 0.1, "coef": 1.0, "at": "update"}
    assert run.header["method"] == {"name": "kl_cov", "settings": settings, "intervenes": True}
    assert run.header["config"] == config.model_dump()
    assert [row["step"] for row in run.metrics("train")] == [1, 2]
    assert [row["step"] for row in run.metrics("eval")] == [0, 1, 2]
    assert {"reward", "loss", "grad_norm", "entropy/full", "entropy/full/fork", "control/marked_share"} <= set(
        run.columns("train")
    )
    assert {"accuracy", "pass@1", "pass@2", "entropy/full_sequence_mean", "diversity/tries"} <= set(run.columns("eval"))
    assert run.column("control/marked_share")[1] == pytest.approx([0.1, 0.1], abs=0.02)
    assert run.header["definitions"]["entropy/full"]["temperature"] == "1.0"
    assert {row["kind"] for row in run.rollouts()} == {"train", "eval"}


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path):
    def trained(seed, name):
        return _rows(train(RunConfig(seed=seed, out=str(tmp_path / name), **SMALL)))

    first = trained(1, "a")
    assert first == trained(1, "b")
    assert first != trained(2, "c")


def test_a_record_leaves_out_what_it_shall_not_hold(tmp_path):
    left_out = {"record_text": False, "record_tokens": False}
    run = open_run(train(RunConfig(out=str(tmp_path / "run"), **SMALL | left_out)))
    held = {name for row in run.rollouts() for name, value in row.items() if value is not None}
    assert held & {"prompt", "text", "tokens", "token_ids", "entropy", "logp_sampler"} == set()
    assert {"reward", "verdict", "traits", "prompt_id"} <= held
    page([run])


def test_the_disk_a_record_needs_is_told_before_and_right_within_a_half(tmp_path):
    config = RunConfig(out=str(tmp_path / "run"), **SMALL | {"steps": 4, "record_rollouts": 4})
    stated = float(re.search(r"about ([\d.]+) MB", disk_note(config))[1])
    run = train(config)
    taken = sum(file.stat().st_size for file in run.rglob("*") if file.is_file() and "checkpoints" not in file.parts)
    assert taken / 1e6 == pytest.approx(stated, rel=0.5)


def test_a_full_disk_is_told_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1_000))
    assert "only 0.0 MB are free there" in disk_note(RunConfig(out=str(tmp_path / "run")))


def test_a_run_that_was_cut_off_goes_on_with_resume(tmp_path):
    """From its newest checkpoint where there is one, else from the start; either way to the same end."""
    config = RunConfig(out=str(tmp_path / "whole"), **SMALL | {"steps": 3, "save_every": 2})
    whole = _rows(train(config))
    cut = config.model_copy(update={"out": str(tmp_path / "cut"), "resume": True})
    train(cut)
    for saved in ("checkpoint-3", "checkpoint-2"):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / saved)
        assert _rows(train(cut)) == whole


def test_ctrl_c_ends_with_130_and_the_same_command_with_resume_goes_on(tmp_path):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (SMALL | {"steps": 6, "save_every": 2}).items()]
    command = [sys.executable, "-m", "forkpoint", "train", *flags, "--out"]

    def listen():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored

    subprocess.run([*command, "whole"], cwd=tmp_path, check=True, capture_output=True)
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "cut"], cwd=tmp_path, preexec_fn=listen, **pipes) as cut:
        while not (tmp_path / "cut" / "checkpoints" / "checkpoint-2" / "forkpoint" / "complete.json").exists():
            assert cut.poll() is None, cut.stderr.read()
            time.sleep(0.01)
        cut.send_signal(signal.SIGINT)
        told = cut.communicate()[1]
    assert cut.returncode == 130 and "cut can go on: the same command with --resume" in told
    assert open_run(tmp_path / "cut").status["state"] == "stopped"
    subprocess.run([*command, "cut", "--resume"], cwd=tmp_path, check=True, capture_output=True)
    assert _rows(tmp_path / "cut") == _rows(tmp_path / "whole")


def _rows(folder):
    return [{k: v for k, v in row.items() if "time" not in k} for row in open_run(folder).metrics()]


def test_a_folder_with_a_run_is_kept_unless_told_otherwise(tmp_path):
    config = RunConfig(out=str(tmp_path / "run"), **SMALL)
    train(config)
    with pytest.raises(RecordError, match="run"):
        train(config)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    first = open_run(tmp_path / "run").header["run_id"]
    train(config.model_copy(update={"overwrite": True}))
    assert open_run(tmp_path / "run").header["run_id"] != first
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "values, says",
    [
        ({"model": "/no/such/folder"}, "no such folder"),
        ({"task": "countdwn"}, "did you mean 'countdown'"),
        ({"method": "gropo"}, "did you mean 'grpo'"),
        ({"method": "kl_cov", "settings": {"shares": 1.0}}, "did you mean 'share'"),
        ({"micro_batches": 3}, "does not divide"),
        ({"method": "kl_cov", "updates_per_rollout": 1}, "num_iterations=2"),
    ],
)
def test_a_wrong_setting_gets_one_line(tmp_path, values, says):
    with pytest.raises(ValueError, match=says) as caught:
        train(RunConfig(**(SMALL | {"out": str(tmp_path / "run")} | values)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text, says",
    [
        ("mthod: grpo", "did you mean 'method'"),
        ("steps: none", "steps = 'none'"),
        ("temperature: 0", "temperature"),
        ("keep_mb: .inf", "keep_mb = inf: input should be a finite number"),
        ("- a list", "not keys and values"),
        ("a: [1", "not YAML"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_wrong_config_file_gets_one_line_that_names_it(tmp_path, text, says):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as caught:
        read_config(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_config_file_is_read(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("method: dapo\nsettings:\n  clip_high: 0.4\nsteps: 3\n")
    assert read_config(path) == make_config({"method": "dapo", "settings": {"clip_high": 0.4}, "steps": 3})


def test_arms_differ_in_the_method_alone(tmp_path):
    one, two = (config.model_dump() for config in configs(tmp_path))
    assert {key for key in one if one[key] != two[key]} == {"name", "method", "settings", "out"}
    assert len(ARMS) == 2


def test_side_by_side_keeps_what_is_done_and_names_the_log_of_what_fails(tmp_path):
    good = RunConfig(out=str(tmp_path / "good"), **SMALL)
    bad = RunConfig(model="/no/such/folder", out=str(tmp_path / "bad"), **SMALL)
    seen = []
    side_by_side([good], show=lambda arms: seen.append(list(arms)))
    assert is_done(good) and not is_done(good.model_copy(update={"seed": 5})) and seen
    written = (tmp_path / "good" / "metrics.jsonl").stat().st_mtime_ns
    with pytest.raises(ArmFailed, match=r"bad\.log"):
        side_by_side([good, bad])
    assert (tmp_path / "good" / "metrics.jsonl").stat().st_mtime_ns == written


def test_arms_whose_names_differ_after_a_dot_share_no_file(tmp_path):
    arms = [RunConfig(out=str(tmp_path / f"lr-{rate}"), learning_rate=rate, **SMALL) for rate in (0.02, 0.04)]
    side_by_side(arms)
    assert all(is_done(arm) for arm in arms)


def test_a_reward_without_a_verdict_is_none():
    class Unsure(Task):
        name = "unsure"
        in_process = "compares two words"

        def read(self, prompt):
            return prompt

        def score(self, problem, text):
            return Verdict("none", "out of time") if text == "?" else Verdict("correct" if text == "1" else "wrong")

    assert TaskReward(Unsure())(["p"] * 3, ["1", "0", "?"]) == [1.0, 0.0, None]
    assert TaskReward(Unsure(), no_verdict="wrong")(["p"] * 3, ["1", "0", "?"]) == [1.0, 0.0, 0.0]
    assert TaskReward(countdown()).__name__ == "countdown_reward"


def test_the_recipe_makes_a_policy_that_transformers_loads(tmp_path):
    recipe = Recipe(width=16, layers=1, heads=2, hidden=16, steps=3, batch=4)
    made = [tiny_policy(recipe, tmp_path / name, progress=False) for name in ("a", "b")]
    one, two = (load_file(place / "model.safetensors") for place in made)
    assert all((one[name] == two[name]).all() for name in one)
    model, tokenizer = load(str(made[0]))
    prompt = "3 4 9 target 39 think"
    assert tokenizer.decode(tokenizer(prompt)["input_ids"]) == prompt
    assert model.config.vocab_size == len(tokenizer)
    assert json.loads((made[0] / "recipe.json").read_text())["steps"] == 3


def test_the_shipped_policy_is_what_its_card_says():
    from pathlib import Path

    model, tokenizer = load("tiny")
    card = (Path(folder("tiny")) / "README.md").read_text()
    assert f"{sum(weight.numel() for weight in model.parameters()):,} parameters" in card
    assert set(countdown().vocabulary) <= set(tokenizer.get_vocab())
    assert sum(path.stat().st_size for path in Path(folder("tiny")).iterdir()) < 6 * 2**20


def test_a_policy_off_the_criteria_is_not_frozen():
    from forkpoint.recipes.policy_card import CRITERIA, card

    values = {key: (least + most) / 2 for key, least, most in CRITERIA}
    values |= dict.fromkeys(("pass@1", "pass@2", "pass@4", "pass@16", "entropy/full", "length"), 0.5)
    values["entropy/full_sequence_mean"] = 0.2
    assert "| accuracy | 0.475 | 0.35 to 0.6 |" in card(values, {"steps": 1}, 100)
    with pytest.raises(ValueError, match=r"accuracy is 0\.700"):
        card(values | {"accuracy": 0.7}, {"steps": 1}, 100)
