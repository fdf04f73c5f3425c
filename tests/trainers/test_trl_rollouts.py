"""Rollouts and models of other kinds: what stock TRL trains is trained, watched and recorded as it is."""

from itertools import islice
from pathlib import Path

import pytest
import torch
import trl
from datasets import Dataset, IterableDataset
from tests.trainers.conftest import TASK, same
from transformers import AutoTokenizer, Qwen3MoeConfig, Qwen3MoeForCausalLM
from trl import GRPOTrainer

from forkpoint.papers import of_run
from forkpoint.policies import folder
from forkpoint.recipes.train import TaskReward
from forkpoint.record.read import open_run
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers.trl import manage, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
PROMPTS = [problem.prompt for problem in islice(TASK.problems("train"), 64)]


@pytest.fixture
def tokenizer():
    return AutoTokenizer.from_pretrained(folder("tiny"))


def by_length(prompts, completions, completion_ids, **columns):
    return [len(ids) % 5 for ids in completion_ids]


# ---- a mixture of experts


@pytest.fixture
def experts(tokenizer):
    """``experts(coef)``: arguments of a trainer for a small mixture of experts."""

    def given(coef=0.001):
        torch.manual_seed(1)
        config = Qwen3MoeConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, moe_intermediate_size=32, head_dim=16,
            num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, num_experts=4, num_experts_per_tok=2,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, router_aux_loss_coef=coef,
        )  # fmt: skip
        return {"model": Qwen3MoeForCausalLM(config), "processing_class": tokenizer, "reward_funcs": by_length}

    return given


@pytest.mark.parametrize(
    "cut", [{}, {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}], ids=["whole", "cut"]
)
def test_the_experts_load_is_balanced_as_in_stock(train, experts, cut):
    settings = {"max_steps": 3, "per_device_train_batch_size": 16, **cut}
    stock = train(GRPOTrainer, given=experts(), **settings)
    managed = train(manage(GRPOTrainer, method="grpo"), given=experts(), **settings)
    assert same(stock, managed)
    logged = [[log["aux_loss"] for log in run[2].state.log_history if "aux_loss" in log] for run in (stock, managed)]
    assert logged[0] == logged[1] and len(logged[0]) == 3
    assert not same(stock, train(manage(GRPOTrainer), given=experts(0.0), **settings)), "the term must matter"


# ---- truncated completions left out of the loss


def test_truncated_rows_are_recorded_as_they_were_written(train, tmp_path):
    """Completions of twelve tokens are all cut off: the loss sees none of them, the record all."""
    settings = {"mask_truncated_completions": True, "max_completion_length": 12, "max_steps": 1, "temperature": 1.2}
    bare = train(GRPOTrainer, **settings)
    watched = train(GRPOTrainer, prepare=lambda t: watch(t, out=tmp_path / "run", task=TASK), **settings)
    assert same(bare, watched)
    run = open_run(tmp_path / "run")
    for row in run.rollouts():
        assert len(row["token_ids"]) == len(row["tokens"]) == 12 and row["text"]
        assert row["entropy"] is None and row["logp_trainer"] is None
    assert all(row["guard/duplicate_group_share"] < 0.5 for row in run.metrics("train"))


def test_a_truncated_row_has_no_log_prob_among_its_group(train):
    """It would be the most likely answer of all at a mean log-prob of 0, and ucpo share the credit by that."""
    seen = []

    class Seeing(GRPOTrainer):
        def _compute_loss(self, model, inputs):
            seen.append(inputs)
            return super()._compute_loss(model, inputs)

    settings = {"mask_truncated_completions": True, "max_completion_length": 28, "max_steps": 1}
    train(Seeing, prepare=lambda trainer: watch(trainer, out=None), **settings)
    (inputs,) = seen
    empty = inputs["completion_mask"].sum(1) == 0
    assert 0 < int(empty.sum()) < len(empty)
    logp = torch.where(inputs["completion_mask"].bool(), inputs["old_per_token_logps"], 0.0)
    own = logp.sum(1) / inputs["completion_mask"].sum(1)
    group = inputs["forkpoint_group_logp"]
    assert int(group.isnan().sum()) == 8 * int(empty.sum()), "each is missing from the eight tables of its group"
    assert (group[~empty] - own[~empty, None]).abs().nan_to_num(9.0).amin(1).max() < 1e-6


# ---- other prompts


def test_a_stream_of_prompts_is_watched(train, tmp_path):
    def stream():
        return {"train_dataset": IterableDataset.from_generator(lambda: ({"prompt": prompt} for prompt in PROMPTS))}

    stock = train(GRPOTrainer, given=stream(), max_steps=2)
    watched = train(GRPOTrainer, given=stream(), prepare=lambda t: watch(t, out=tmp_path / "run"), max_steps=2)
    assert same(stock, watched)


def test_a_conversation_is_read_and_judged_as_its_last_message(train, tokenizer, tmp_path):
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    talk = Dataset.from_dict({"prompt": [[{"role": "user", "content": prompt}] for prompt in PROMPTS]})
    given = {"train_dataset": talk, "processing_class": tokenizer, "reward_funcs": TaskReward(TASK)}
    managed = manage(GRPOTrainer, method="hicra", labels=TASK)
    watched = train(managed, given=given, prepare=lambda t: watch(t, out=tmp_path / "a", task=TASK), max_steps=1)
    plain = train(managed, prepare=lambda t: watch(t, out=tmp_path / "b", task=TASK), max_steps=1)
    assert same(watched, plain)
    (talked,), (said,) = (open_run(tmp_path / name).metrics("train") for name in "ab")
    for key in ("accuracy", "diversity/tries", "entropy/full/planning"):
        assert talked[key] == said[key]


def test_an_environment_that_owns_its_prompts_is_watched_and_labeled(train, tokenizer, tmp_path):
    class Room:
        def reset(self, **columns):
            return "1 2 3"

        def look(self, at: int) -> str:
            """Look.

            Args:
                at: where
            """
            return "1 2"

        def get_reward(self):
            return 1.0

    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text()
    rows = Dataset.from_dict({"environment": ["room", "hall"] * 32})
    given = {"train_dataset": rows, "processing_class": tokenizer, "reward_funcs": None}
    given["environment_factory"] = {"room": Room, "hall": Room}
    asked = []

    def labels(prompts, token_ids, mask, tokenizer):
        asked.extend(prompts)
        return 3 * mask.long()

    managed = manage(GRPOTrainer, method="hicra", labels=labels)
    train(managed, given=given, prepare=lambda t: watch(t, out=tmp_path / "run"), max_steps=1)
    assert len(asked) == 32 and all(prompt[-1]["content"].endswith("1 2 3") for prompt in asked)


def test_an_advantage_per_token_is_refused_in_one_line(train):
    class PerToken(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            spread = batch["advantages"].unsqueeze(1).expand(batch["completion_ids"].shape)
            return batch | {"advantages": spread.clone()}

    for cls, prepare in ((PerToken, watch), (manage(PerToken, method="kl_cov"), lambda trainer: trainer)):
        with pytest.raises(
            HostError, match=r"advantages of shape \(32, \d+\), and forkpoint reads one for each answer"
        ):
            train(cls, prepare=prepare, max_steps=1)


# ---- what a stock run is said to be


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"importance_sampling_level": "sequence", "loss_type": "grpo"}, ["shao2024deepseekmath", "zheng2025group"]),
        ({"top_entropy_quantile": 0.2}, ["yu2025dapo", "wang2025beyond"]),
        ({"use_adaptive_entropy": True, "entropy_coef": 0.01}, ["yu2025dapo", "he2025skywork"]),
        ({"epsilon_high": 0.28, "loss_type": "grpo"}, ["shao2024deepseekmath", "yu2025dapo"]),
    ],
    ids=["gspo", "forking tokens", "adaptive entropy", "clip-higher"],
)
def test_a_stock_run_is_cited_by_what_it_switched_on(train, tmp_path, settings, keys):
    train(GRPOTrainer, prepare=lambda t: watch(t, out=tmp_path / "run"), max_steps=1, **settings)
    papers, unknown = of_run(open_run(tmp_path / "run").header["method"], "")
    assert not unknown and [paper.key for paper in papers if paper.key in keys] == keys
