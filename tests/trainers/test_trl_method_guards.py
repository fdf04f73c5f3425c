"""What a method, its controllers and its evaluation tell on themselves in the real trainer: tripped and not."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tests.trainers.conftest import TASK, countdown_reward, same
from trl import GRPOTrainer

from forkpoint import alarms
from forkpoint.batch import Label, Plan, StepBatch
from forkpoint.controllers import Controller
from forkpoint.credit import declares
from forkpoint.credit.clip_covariance import clip_covariance
from forkpoint.methods import Method, build, method
from forkpoint.metrics._mutual_information import prompt_information
from forkpoint.objectives.clip import clip
from forkpoint.policies.logp import crossed_logp
from forkpoint.policies.sample import Sampled
from forkpoint.record.read import open_run
from forkpoint.trainers._evaluation import INFORMATION, Evaluation
from forkpoint.trainers._guards import draw_guards, misfit_guards, sign_flips
from forkpoint.trainers.trl import manage, watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
CUT = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
SMALL = Evaluation(problems=4, samples=2, every=1, max_tokens=24, crossed=4)


@declares(row_local=True)
def turned(step, plan, key):
    """Pushes the answers that did badly up, as an estimator with a wrong sign would."""
    return replace(plan, advantage=plan.advantage.abs())


@declares(row_local=True)
def untouched(step, plan, key):
    return plan


@method
def wrong_sign() -> Method:
    return Method((turned,), clip())


@method
def no_shaping() -> Method:
    return Method((untouched,), clip())


@method
def band(*, low: float = 1e6, share: float = 0.05) -> Method:
    return Method((clip_covariance(share=share, low=low, high=1e7),), clip(), intervenes=True)


@method
def binary(*, clip_low: float = 0.2) -> Method:
    return Method((), clip(clip_low=clip_low), rewards=(0.0, 1.0))


def following(column):
    """A method whose controller reads ``column``."""

    @method
    def follower(*, clip_high: float = 0.2) -> Method:
        def law(state, reading):
            return state, {"clip_high": 0.2 + 0.01 * reading["step"]}

        return Method((), clip(clip_high=clip_high), controllers=(Controller(("clip_high",), (column,), law),))

    return follower()


def no_forks(prompts, token_ids, mask, tokenizer):
    return mask.long() * int(Label.EXECUTION)


@pytest.fixture
def run(train, tmp_path):
    """``run(method, reward=..., evaluation=..., config settings)`` -> the training rows of the watched run."""

    def go(chosen, *, reward=countdown_reward, evaluation=None, on_alarm="log", labels=TASK, **settings):
        def prepare(trainer):
            trainer.reward_funcs = [reward]
            watch(trainer, out=tmp_path / "run", task=TASK, evaluation=evaluation, on_alarm=on_alarm)

        train(manage(GRPOTrainer, method=chosen, labels=labels), prepare=prepare, **settings)
        return open_run(tmp_path / "run").metrics("train")

    return go


@pytest.fixture
def alarm(monkeypatch):
    """``alarm("inert", patience=2)``: an alarm with another threshold, so that a short run can raise it."""

    def change(name, **changes):
        monkeypatch.setitem(alarms.CONDITIONS, name, replace(alarms.CONDITIONS[name], **changes))

    return change


def of(key, rows):
    return [row[key] for row in rows if key in row]


# ---- signs


@pytest.mark.parametrize("pieces", [{}, CUT], ids=["whole", "cut"])
def test_tokens_pushed_against_their_advantage_are_counted(run, pieces):
    (row,) = run(wrong_sign(), max_steps=1, **pieces)
    assert 0 < row["guard/sign_flips"] < 1, "as many as have a negative advantage"
    assert row["guard/sign_flips"] == pytest.approx(row["guard/changed_share"] / alive(row), rel=0.1)


def alive(row):
    """Tokens with an advantage / tokens, near enough: dead groups have none."""
    return 1 - row["guard/dead_group_share"]


def test_a_method_that_keeps_signs_flips_none(run):
    (row,) = run(band(low=0.0), max_steps=1)
    assert row["guard/sign_flips"] == 0.0 and row["control/removed_share"] > 0


def test_a_negative_weight_flips_as_a_negative_advantage_does(step_of_two):
    plan = replace(step_of_two.plan, weight=torch.tensor([[1.0, -2.0], [0.0, -1.0]]))
    assert sign_flips(step_of_two.step, plan) == (1.0, 2.0), "the second row has no advantage to flip"


@pytest.fixture
def step_of_two():
    mask = torch.ones(2, 2, dtype=torch.bool)
    step = StepBatch(torch.zeros(2, 2), torch.zeros(2, 2), mask, torch.tensor([1.0, 0.0]))
    return SimpleNamespace(step=step, plan=Plan.neutral(step))


# ---- a method that does nothing, also on-policy and also one that does not act on entropy


def test_shaping_that_never_changes_a_token_is_seen_on_policy(run, alarm):
    alarm("inert", patience=3)
    rows = run(no_shaping(), num_iterations=1, max_steps=3)
    assert of("guard/changed_share", rows) == [0.0] * 3
    assert alarms.recorded(rows) == [(3, "inert")]


def test_shaping_that_does_is_not(run, alarm):
    alarm("inert", patience=1)
    assert (1, "inert") not in alarms.recorded(run(wrong_sign(), num_iterations=1, max_steps=1))


def test_a_part_of_a_composition_that_changes_nothing_is_seen(run, alarm):
    alarm("empty_selection", patience=2)
    rows = run(build("entropy_advantage+clip_cov", low=100.0, high=200.0), max_steps=2)
    assert all(share > 0.5 for share in of("guard/changed_share", rows)), "entropy_advantage acts"
    assert of("guard/empty_selection", rows) == [1.0, 1.0]
    assert (2, "empty_selection") in alarms.recorded(rows)


def test_a_bonus_without_tokens_of_its_role_is_seen_beside_a_baseline(run):
    """hicra's group mean alone changes every token, whatever its labeler found."""
    rows = run(build("hicra"), labels=no_forks, max_steps=1)
    assert of("guard/changed_share", rows)[0] > 0 and of("guard/empty_selection", rows) == [1.0]


def test_a_part_that_a_controller_may_leave_off_hides_no_other_part(run, alarm):
    """entropy_budget rests at its set-point; hicra beside it has no excuse. Alone, neither column nor alarm."""
    alarm("empty_selection", patience=1)
    resting = {"end": 1e-3, "gain": 0.0, "integral_gain": 0.0}
    rows = run(build("hicra+entropy_budget", **resting), labels=no_forks, max_steps=1)
    assert of("guard/empty_selection", rows) == [1.0] and (1, "empty_selection") in alarms.recorded(rows)


def test_a_method_at_its_set_point_raises_no_alarm(run, alarm):
    alarm("inert", patience=1)
    rows = run(build("entropy_budget", end=1e-3, gain=0.0, integral_gain=0.0), max_steps=1, num_iterations=1)
    assert of("guard/changed_share", rows) == [0.0]
    assert not of("guard/empty_selection", rows) and alarms.recorded(rows) == []


def test_a_moving_average_does_not_hide_a_method_that_does_nothing(run, alarm):
    """The averages of rank_shaping are settings that a controller turns, and none that rests."""
    alarm("inert", patience=2)
    rows = run(build("rank_shaping", weight=0.0), max_steps=2, num_iterations=1)
    assert of("guard/changed_share", rows) == [0.0, 0.0] and (2, "inert") in alarms.recorded(rows)


# ---- draws


@pytest.mark.parametrize("pieces", [{}, CUT], ids=["whole", "cut"])
def test_a_draw_from_an_empty_band_is_wholly_short(run, alarm, pieces):
    alarm("draws_short", patience=2)
    rows = run(band(), max_steps=2, **pieces)
    assert of("guard/draws_short", rows) == [1.0, 1.0]
    assert (2, "draws_short") in alarms.recorded(rows)


def test_a_draw_that_finds_part_of_what_it_asked_for_says_how_much(run):
    (row,) = run(band(low=1e-3, share=1.0), max_steps=1)
    assert row["guard/draws_short"] == pytest.approx(1 - row["control/removed_share"])
    assert 0 < row["guard/draws_short"] < 1


def test_a_draw_that_finds_all_is_not_short_and_without_draws_there_is_no_column(run):
    (row,) = run(band(low=1e-3, share=0.01), max_steps=1)
    assert row["guard/draws_short"] == 0.0 and row["control/removed_share"] > 0
    assert draw_guards([]) == {}


# ---- controllers


def test_a_controller_of_a_role_without_tokens_is_seen_to_hold(run, alarm):
    alarm("controller_held", limit=2.0)
    rows = run(following("entropy/full/fork"), labels=no_forks, max_steps=4)
    assert of("guard/controller_held", rows) == [0.0, 1.0, 2.0, 3.0], "each tells of the step before"
    assert alarms.recorded(rows) == [(3, "controller_held")]
    assert of("control/clip_high", rows) == [0.2] * 4


def test_a_controller_that_reads_is_not(run):
    rows = run(following("entropy/full"), max_steps=3)
    assert of("guard/controller_held", rows) == [0.0] * 3
    assert of("control/clip_high", rows) == pytest.approx([0.2, 0.21, 0.22])


# ---- rewards


def test_a_reward_that_a_method_is_not_defined_for_is_an_alarm_at_once(run):
    rows = run(binary(), reward=lambda prompts, **columns: [0.5, 1.0, 0.0, 1.0] * 8, max_steps=1)
    assert of("guard/reward_misfit", rows) == [0.25]
    assert alarms.recorded(rows) == [(1, "reward_misfit")]


def test_a_reward_it_is_defined_for_is_not(run):
    assert of("guard/reward_misfit", run(binary(), max_steps=1)) == [0.0]
    assert misfit_guards(None, torch.ones(2)) == {}


def test_a_missing_reward_is_no_misfit():
    given = torch.tensor([torch.nan, 1.0, torch.inf])
    assert misfit_guards(binary(), given) == {"guard/reward_misfit": (1.0, 2.0)}


# ---- what completions tell of their prompts


def test_an_evaluation_reads_what_completions_tell_of_their_prompts(run, tmp_path):
    run(binary(), evaluation=SMALL, max_steps=1)
    opened = open_run(tmp_path / "run")
    for row in opened.metrics("eval"):
        assert row[f"{INFORMATION}/bound"] == pytest.approx(1.386294), "ln 4"
        assert 0.1 < row[INFORMATION] <= row[f"{INFORMATION}/bound"], "the answers use the numbers of the problem"
        assert row[f"{INFORMATION}/retrieval"] == 1.0
    assert not of(INFORMATION, opened.metrics("train")), "it is no trait of a rollout"
    assert opened.header["definitions"][INFORMATION]["unit"].startswith("nats")


def test_the_switch_is_off_at_zero(run, tmp_path):
    run(binary(), evaluation=replace(SMALL, crossed=0), max_steps=1)
    assert not any(key.startswith(INFORMATION) for key in open_run(tmp_path / "run").columns("eval"))


@pytest.mark.parametrize(("limit", "found"), [(1e9, [(1, "template_collapse")]), (1e-9, [])])
def test_the_alarm_of_an_evaluation_is_told_in_its_step_and_stops_the_run(run, alarm, limit, found):
    alarm("template_collapse", limit=limit, patience=1)
    rows = run(binary(), evaluation=SMALL, on_alarm="stop", max_steps=2)
    assert alarms.recorded(rows) == found
    assert [row["step"] for row in rows] == ([1] if found else [1, 2])


def test_reading_it_changes_no_bit_of_the_training(train, tmp_path):
    cls = manage(GRPOTrainer, method=binary())
    bare = train(cls, max_steps=2)
    read = train(cls, max_steps=2, prepare=lambda t: watch(t, out=tmp_path / "a", task=TASK, evaluation=SMALL))
    assert same(bare, read)


class Deaf(torch.nn.Module):
    """A policy with plenty of entropy that does not hear its prompt: the next token depends on the last one only."""

    def __init__(self, prompt_length):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.prompt_length = torch.nn.Parameter(torch.randn(9, 9)), prompt_length
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=9))

    def forward(self, input_ids, attention_mask):
        heard = input_ids.clone()
        heard[:, : self.prompt_length] = 0
        return SimpleNamespace(logits=self.table[heard])


def test_a_policy_that_does_not_hear_its_prompt_has_no_information_and_all_its_entropy():
    torch.manual_seed(1)
    prompts, ids = torch.randint(0, 9, (4, 3)), torch.randint(0, 9, (4, 5))
    mask = torch.arange(5) < torch.tensor([[2], [1], [2], [1]])
    prompts[:, -1] = torch.arange(4)
    ids[:, 0] = Deaf(0).table[prompts[:, -1]].argmax(1)  # what one that hears would say
    drawn = Sampled(prompts, torch.ones_like(prompts), ids, mask, [], 9)
    table = crossed_logp(Deaf(3), drawn, torch.arange(4), 1.0)
    found = prompt_information(table)
    assert found.mutual_information == pytest.approx(0, abs=1e-6) and found.retrieval == 0.0
    assert found.conditional > 1.0
    hearing = prompt_information(crossed_logp(Deaf(0), drawn, torch.arange(4), 1.0))
    assert hearing.mutual_information > 0.1, "the negative control: it hears the last token of the prompt"


def test_the_table_is_of_completions_down_and_prompts_across():
    torch.manual_seed(1)
    model, prompts, ids = Deaf(0), torch.randint(0, 9, (3, 2)), torch.randint(0, 9, (3, 4))
    mask = torch.arange(4) < torch.tensor([[4], [2], [1]])
    table = crossed_logp(model, Sampled(prompts, torch.ones_like(prompts), ids, mask, [], 9), torch.tensor([2, 0]), 0.5)
    logp = (model.table / 0.5).log_softmax(-1)
    by_hand = logp[prompts[0, -1], ids[2, 0]]
    assert table[0, 1].item() == pytest.approx(by_hand.item(), rel=1e-6), "completion 2, of one token, under prompt 0"
