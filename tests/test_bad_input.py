"""A user's mistake about a method is one line that names what is wrong and what to do; it costs no training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from forkpoint import catalog
from forkpoint.batch import Rows, Total
from forkpoint.cli import main
from forkpoint.methods import build
from tests.laws.random_steps import random_step

NAMES = catalog.names("methods")
every_method = pytest.mark.parametrize("name", NAMES)
TINY = ["--steps", "1", "--prompts-per-step", "1", "--eval-problems", "2", "--eval-samples", "2", "--threads", "1"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text and "\n" not in text and len(text) < 1000
    return text


# ---- the command line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--fail-if guard/chnaged_share<=0", "no column 'guard/chnaged_share'; did you mean 'guard/changed_share'?"),
        ("--method kl_vov", "no 'kl_vov' in methods; did you mean 'kl_cov'?"),
        ("--method kl_cov --settings shar=0.002", "kl_cov has no setting 'shar'; did you mean 'share'?"),
        (
            "--method kl_cov --settings share=0.2%",
            "share='0.2%': it must be a finite number; a share is a fraction, 0.2 % is 0.002",
        ),
        (
            "--method aepo --settings share=0",
            "share=0.0: it is a fraction in (0, 1] of the rollout's groups; 25 % is 0.25",
        ),
        (
            "--method aepo --settings share=25",
            "share=25.0: it is a fraction in (0, 1] of the rollout's groups; 25 % is 0.25",
        ),
        (
            "--method kl_cov --settings share=20",
            "kl_cov: share=20.0: it is a fraction in (0, 1] of the step's tokens",
        ),
        ("--method kl_cov --settings share=much", "kl_cov: share='much': it must be a finite number"),
        ("--method kl_cov --settings coef=-1", "kl_cov: coef=-1.0: a penalty needs a finite coefficient of 0 or more"),
        ("--method kl_cov --settings at=later", "kl_cov: at='later': choose 'update' or 'rollout'"),
        ("--method clip_cov --settings low=9", "clip_cov: low=9.0, high=5.0: the covariance band is empty"),
        ("--method grpo --settings clip_low=2", "grpo: clip_low=2.0: the ratio is clipped at 1 - clip_low"),
        ("--method kl_cov --updates-per-rollout 1", "kl_cov does nothing when every ratio is 1"),
        (
            "--method hicra+kl_cov --updates-per-rollout 1",
            "hicra+kl_cov: a part of it does nothing when every ratio is 1",
        ),
        ("--method grpo+kl_cov", "grpo+kl_cov: grpo and kl_cov each bring an objective and a step has one loss"),
        ("--method hicra+kl_vov", "no 'kl_vov' in methods; did you mean 'kl_cov'?"),
        ("--method kl_cov+kl_cov", "kl_cov+kl_cov: name two different methods or more"),
        ("--method hicra+kl_cov --settings clip_low=0.1", "hicra+kl_cov has no setting 'clip_low'"),
        ("--method pass_at_k --settings k=9", "pass_at_k teaches nothing of 8 completions per prompt"),
        ("--method mine:method", "cannot load 'mine:method'"),
    ],
)
def test_train_refuses_in_one_line_and_leaves_no_run(words: str, says: str, tmp_path: Path, capsys):
    code = main(["train", *TINY, *words.split(), "--out", str(tmp_path / "run")])
    told = capsys.readouterr()
    errors = [line for line in told.err.splitlines() if line.startswith("forkpoint: error: ")]
    assert code == 2 and told.out == ""
    assert len(errors) == 1 and says in errors[0], told.err
    assert "Traceback" not in told.err


# ---- a trainer whose config says something else


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("dapo", {"epsilon": 0.1}, "epsilon=0.1 is set in the trainer's config, and dapo sets epsilon=0.2"),
        ("kl_cov", {"epsilon_high": 0.3}, "epsilon_high=0.3 is set in the trainer's config, and kl_cov has no use for"),
        ("grpo", {"loss_type": "cispo"}, "loss_type='cispo' is a loss of its own and grpo is another; choose one"),
        ("gspo", {"loss_type": "bnpo"}, "loss_type=bnpo averages token losses in another way than gspo"),
        ("forking_tokens", {"top_entropy_quantile": 0.2}, "top_entropy_quantile=0.2 is set in the trainer's config"),
        (
            "grpo",
            {"importance_sampling_level": "sequence"},
            "importance_sampling_level=sequence is set in the trainer's",
        ),
        ("entropy_bonus", {"entropy_coef": 0.1}, "entropy_coef=0.1 is set in the trainer's config, and entropy_bonus"),
        ("dapo", {"num_iterations": 1}, "dapo does nothing when every ratio is 1"),
        # the engine's log-probs are another weight beside the ratio, which stays 1
        ("dapo", {"num_iterations": 1, "use_vllm": True}, "dapo does nothing when every ratio is 1"),
        ("hicra+kl_cov", {"epsilon": 0.1}, "epsilon=0.1 is set in the trainer's config, and hicra+kl_cov has no use"),
    ],
)
def test_a_setting_in_two_places_is_refused_with_both_named(name: str, settings: dict, says: str, tmp_path: Path):
    from trl import GRPOConfig

    from forkpoint.trainers._trl_host import HostError
    from forkpoint.trainers._trl_settings import check_settings

    plain = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": [], "num_iterations": 2}
    check_settings(GRPOConfig(**plain), build(name))
    with pytest.raises(HostError) as refused:
        check_settings(GRPOConfig(**(plain | settings)), build(name))
    assert says in one_line(refused.value)


# ---- a step that lacks what a method reads


@every_method
def test_a_step_without_a_field_that_the_method_reads_is_refused_by_name(name: str):
    made, step = build(name), random_step(0)
    made.step_loss(step)
    for field in made.reads:
        with pytest.raises(ValueError) as refused:
            made.step_loss(replace(step, **{field: None}, **_without_its_stand_in(field)))
        assert field in one_line(refused.value) or field.replace("_", " ") in str(refused.value)


def _without_its_stand_in(field: str) -> dict[str, None]:
    """A table over the group is made from the rows themselves where it is absent, unless they are absent too."""
    return {"group_reward": {"group": None}, "group_logp": {"group": None}}.get(field, {})


@every_method
def test_rows_without_the_entropy_that_a_loss_needs_are_refused(name: str):
    made, step = build(name), random_step(0)
    if "entropy" not in made.reads or made.credit:
        return
    with pytest.raises(ValueError, match="entropy"):
        made.loss(Rows(step.logp, step.logp_old, step.mask), made.plan(step), Total.of(step.mask))


@every_method
def test_an_unknown_setting_names_the_nearest(name: str):
    known = next(iter(build(name).settings))
    for call in (build, lambda name, **settings: build(name).with_knobs(**settings)):
        with pytest.raises(ValueError) as refused:
            call(name, **{known[:-1] + "_": 0.1})
        assert f"{name} has no setting" in one_line(refused.value) and known in str(refused.value)


@every_method
def test_a_number_that_is_none_is_refused(name: str):
    for setting, value in build(name).settings.items():
        for wrong in (float("nan"), float("inf"), "much", True, None) if isinstance(value, float) else ():
            with pytest.raises(ValueError) as refused:
                build(name, **{setting: wrong})
            assert f"{name}: {setting}=" in one_line(refused.value)


def test_what_is_refused_here_is_let_by_where_it_is_right(tmp_path: Path):
    """The negative control: none of the refusals above comes from what the wrong inputs have in common."""
    for name in ("kl_cov", "hicra+kl_cov", "gspo"):
        assert torch.isfinite(build(name).step_loss(random_step(0)))
