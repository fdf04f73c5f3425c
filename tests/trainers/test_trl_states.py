"""Hidden states, tools and a frozen reference in a real TRL run: read in the same forward, and no bit is changed."""

import math
from types import SimpleNamespace

import pytest
import torch
from tests.trainers.conftest import TASK, same
from trl import GRPOTrainer

from forkpoint.batch import Label, Plan
from forkpoint.credit import declares
from forkpoint.methods import Method
from forkpoint.methods.grpo import grpo
from forkpoint.metrics._prefix_rank import effective_rank, iid_rank, rank_statistics
from forkpoint.metrics.entropy_full import token_entropy
from forkpoint.metrics.rank_of_states import STATISTICS
from forkpoint.policies import load
from forkpoint.record.read import open_run
from forkpoint.strategic_grams import StrategicGrams
from forkpoint.trainers import _trl_host as host
from forkpoint.trainers._trl_host import HostError
from forkpoint.trainers.trl import forks_by_reference, labeled_by_grams, manage, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
RANKS = tuple(f"rank/{name}" for name in (*STATISTICS, "over_null"))
CUT = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 2}


def watched(folder, **more):
    return lambda trainer: watch(trainer, out=folder, task=TASK, **more)


@pytest.mark.parametrize(
    "cls", [GRPOTrainer, manage(GRPOTrainer, method="kl_cov", share=0.05)], ids=["stock", "kl_cov"]
)
def test_reading_ranks_and_a_reference_changes_no_bit(train, tmp_path, cls):
    bare = train(cls)
    read = train(cls, prepare=watched(tmp_path / "run", rank=5, reference="tiny"))
    assert same(bare, read)
    run = open_run(tmp_path / "run")
    for row in run.metrics("train"):
        assert all(math.isfinite(row[key]) for key in RANKS)
        assert 1 <= row["rank/effective"] < row["rank/null"] < 40
        assert row["entropy/full/reference_fork"] > row["entropy/full"] > 0
    columns = run.columns("train")
    assert {
        "advantage/mean/execution",
        "advantage/abs/fork",
        "diversity/strategies",
        "entropy/sampled/execution",
    } <= set(columns)
    assert not [key for key in columns if "after_tool" in key]


def test_without_asking_no_rank_is_recorded(train, tmp_path):
    train(GRPOTrainer, prepare=watched(tmp_path / "run"), max_steps=1)
    assert not [
        key for key in open_run(tmp_path / "run").columns("train") if key.startswith("rank/") or "reference" in key
    ]


def test_the_paper_s_stride_has_no_velocity_for_forty_tokens(train, tmp_path):
    train(GRPOTrainer, prepare=watched(tmp_path / "run", rank=True), max_steps=1)
    (row,) = open_run(tmp_path / "run").metrics("train")
    assert math.isfinite(row["rank/effective"]) and math.isnan(row["rank/velocity"])


def spying(seen, **declared):
    """A method that reads ranks and writes down the steps it is shown."""

    @declares(**declared)
    def spy(step, plan, key):
        seen.append(step)
        return plan

    return Method((spy,), grpo().objective, reads=("rank",), name="spy")


@pytest.mark.parametrize("declared", [{}, {"at": "rollout"}, {"sharded": True}], ids=str)
def test_a_method_that_reads_ranks_sees_those_of_the_whole_step(train, declared):
    """Against a plain forward of the same model on the same tokens."""
    seen = []
    _, _, trainer = train(manage(GRPOTrainer, method=spying(seen, **declared)), max_steps=1, learning_rate=0.0, **CUT)
    (step,) = seen
    assert step.rank.shape == (32, 6) and step.rank[:, 0].isfinite().all()
    parts = trainer._buffered_inputs
    ids = torch.cat([torch.cat([part["prompt_ids"], part["completion_ids"]], 1) for part in parts])
    attention = torch.cat([torch.cat([part["prompt_mask"], part["completion_mask"]], 1) for part in parts])
    row_id = torch.cat([part["forkpoint_row_id"] for part in parts])
    trainer.model.eval()
    with torch.no_grad():
        output = trainer.model(input_ids=ids, attention_mask=attention, output_hidden_states=True)
    keep, order = step.mask.shape[1], torch.argsort(row_id)
    states = output.hidden_states[-1][:, -keep:][order]
    expected = rank_statistics(states, step.mask[step.row_id.argsort()])
    torch.testing.assert_close(step.rank[step.row_id.argsort()], expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    first = int(step.row_id.argmin())
    assert step.rank[first, 3].item() == pytest.approx(iid_rank(int(step.mask[first].sum()), 64), rel=1e-5)
    assert step.rank[first, 0].item() == pytest.approx(effective_rank(states[0][step.mask[first]]), rel=1e-4)


def test_the_reference_is_asked_once_per_rollout_and_does_not_move(train, tmp_path):
    reference, _ = load("tiny")
    calls, before = [], {name: value.clone() for name, value in reference.state_dict().items()}
    reference.register_forward_hook(lambda *_: calls.append(1))
    _, _, trainer = train(GRPOTrainer, prepare=watched(tmp_path / "run", reference=reference), max_steps=4, **CUT)
    assert len(calls) == 2, "4 steps of 2 updates per rollout are 2 rollouts"
    assert all(torch.equal(before[name], value) for name, value in reference.state_dict().items())
    part = trainer._buffered_inputs[0]
    ids = torch.cat([part["prompt_ids"], part["completion_ids"]], 1)
    attention = torch.cat([part["prompt_mask"], part["completion_mask"]], 1)
    keep = part["completion_ids"].size(1)
    with torch.no_grad():
        expected = token_entropy(load("tiny")[0](input_ids=ids, attention_mask=attention).logits[:, -keep - 1 : -1])
    mask = part["completion_mask"].bool()
    found = part["forkpoint_entropy_reference"]
    assert found.shape == mask.shape
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-4, atol=1e-5)


def test_a_controller_that_reads_reference_forks_needs_a_reference(train):
    method = Method((), grpo().objective, reads=("entropy_reference",), name="anchored")
    with pytest.raises(HostError, match=r"anchored reads a frozen policy's entropy: give manage.*reference=model"):
        train(manage(GRPOTrainer, method=method))
    steps, _, trainer = train(manage(GRPOTrainer, method=method, reference="tiny"), max_steps=1)
    assert len(steps) == 1 and "forkpoint_entropy_reference" in trainer._buffered_inputs[0]


def test_mistakes_are_named(train, tmp_path):
    def with_itself(trainer):
        watch(trainer, out=tmp_path / "a", reference=trainer.model)

    with pytest.raises(HostError, match="reference is the policy in training; give a frozen copy"):
        train(GRPOTrainer, prepare=with_itself)
    small, _ = load("tiny")
    small.resize_token_embeddings(50)
    with pytest.raises(HostError, match="reference knows 50 tokens and the policy 124"):
        train(GRPOTrainer, prepare=watched(tmp_path / "b", reference=small))
    with pytest.raises(ValueError, match="rank=0: give the number of tokens between two prefixes"):
        train(GRPOTrainer, prepare=watched(tmp_path / "c", rank=0))
    with pytest.raises(HostError, match="rank=7, and the method reads the rank of prefixes 40 tokens apart"):
        train(manage(GRPOTrainer, method=spying([])), prepare=watched(tmp_path / "d", rank=7))


def test_what_a_tool_wrote_is_told_from_padding_and_from_the_policy():
    inputs = {
        "completion_ids": torch.zeros(1, 6, dtype=torch.long),
        "completion_mask": torch.tensor([[1, 1, 1, 1, 1, 0]]),
        "tool_mask": torch.tensor([[1, 0, 0, 1, 1, 1]]),
        "advantages": torch.ones(1),
    }
    step = host.step_batch(inputs, torch.zeros(1, 6), None)
    assert step.tool.tolist() == [[False, True, True, False, False, False]]
    assert step.mask.tolist() == [[True, False, False, True, True, False]]
    assert host.step_batch({k: v for k, v in inputs.items() if k != "tool_mask"}, torch.zeros(1, 6), None).tool is None


def test_an_environment_s_words_are_recorded_apart(train, tmp_path):
    """A rollout function that writes results into the completions, by TRL's own env_mask."""

    def rollout(prompts, trainer):
        draw = torch.Generator().manual_seed(0)
        ids = [torch.randint(2, 100, (12,), generator=draw).tolist() for _ in prompts]
        asked = [trainer.processing_class(prompt)["input_ids"] for prompt in prompts]
        return {"prompt_ids": asked, "completion_ids": ids, "logprobs": [[0.0] * 12 for _ in prompts],
                "env_mask": [[1] * 4 + [0] * 3 + [1] * 5 for _ in prompts]}  # fmt: skip

    class WithRollout(GRPOTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, rollout_func=rollout, **kwargs)

    _, _, trainer = train(WithRollout, prepare=lambda t: watch(t, out=tmp_path / "run"), max_steps=1)
    (row,) = open_run(tmp_path / "run").metrics("train")
    assert row["entropy/full/after_tool"] > 0
    found = host.step_batch(trainer._buffered_inputs[0], torch.zeros(32, 12), None).tool
    assert found.equal(torch.arange(12).sub(5).abs().lt(2).expand(32, 12))


def test_grams_label_for_a_method_that_reads_roles(train):
    seen = []

    @declares(row_local=True)
    def spy(step, plan, key):
        seen.append(step.label)
        return Plan(plan.advantage, plan.weight, step.label == Label.PLANNING)

    label = labeled_by_grams(StrategicGrams((("yes answer",),), (1,), 1))
    method = Method((spy,), grpo().objective, reads=("label",), name="spy")
    train(manage(GRPOTrainer, method=method, labels=label), max_steps=2)
    assert {int(value) for one in seen for value in one.unique()} == {Label.OTHER, Label.EXECUTION, Label.PLANNING}
    assert 0 < label.share < 0.2


@pytest.mark.parametrize("by", [{"threshold": 0.3}, {"share": 0.2}])
def test_forks_of_a_frozen_reference_are_labels_for_a_method_that_reads_roles(train, by):
    seen = []

    @declares(row_local=True)
    def spy(step, plan, key):
        seen.append(step)
        return plan

    method = Method((spy,), grpo().objective, reads=("label",), name="spy")
    labels = forks_by_reference(**by)
    train(manage(GRPOTrainer, method=method, labels=labels, reference="tiny"), max_steps=1, num_iterations=1)
    (step,) = seen
    entropies = step.entropy_reference[step.mask]
    least = 0.3 if "threshold" in by else float(entropies.sort(descending=True).values[-(-len(entropies) // 5) - 1])
    assert torch.equal(step.label == Label.FORK, step.mask & (step.entropy_reference >= least))
    assert torch.equal(step.label == Label.OTHER, ~step.mask) and (step.label == Label.FORK).any()
    with pytest.raises(HostError, match=r"forks_by_reference reads a frozen policy's entropy: give manage.*reference"):
        train(manage(GRPOTrainer, method=method, labels=labels))


@pytest.mark.parametrize("wrong", [{"share": 20.0}, {"share": 0.0}, {"threshold": -1.0}])
def test_a_wrong_share_or_threshold_is_refused_before_the_run(wrong):
    with pytest.raises(ValueError, match="it is "):
        forks_by_reference(**wrong)


def test_columns_by_role_follow_labels_that_no_method_reads(train, tmp_path):
    """With the role's own threshold they are its tokens; the task would call others forks."""
    managed = manage(GRPOTrainer, labels=forks_by_reference(), reference="tiny")
    train(managed, prepare=watched(tmp_path / "run"), max_steps=1, num_iterations=1)
    (row,) = open_run(tmp_path / "run").metrics("train")
    assert row["entropy/full/fork"] == row["entropy/full/reference_fork"] > 0.672 > row["entropy/full/execution"]


def test_peft_and_wrappers_are_looked_through():
    """The hook sits on the innermost backbone, whatever is around it."""
    from forkpoint.trainers._trl_states import note_states, with_rank

    model, _ = load("tiny")

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def get_base_model(self):
            return model

        def forward(self, **inputs):
            return self.inner(**inputs)

    trainer = SimpleNamespace(model=Wrapped(), accelerator=SimpleNamespace(unwrap_model=lambda module: module))
    note_states(trainer, 3)
    ids = torch.arange(2, 22).view(2, 10)
    trainer.model(input_ids=ids)
    inputs = {"completion_ids": ids[:, 2:], "completion_mask": torch.ones(2, 8, dtype=torch.long)}
    found = with_rank(trainer, inputs)["forkpoint_rank"]
    assert found.shape == (2, 6) and found[:, :2].isfinite().all()
    # the second reader of the same forward gets the same numbers, another batch gets none
    assert with_rank(trainer, inputs)["forkpoint_rank"] is found
    assert "forkpoint_rank" not in with_rank(trainer, {**inputs, "completion_ids": ids[:, 2:].clone()})
