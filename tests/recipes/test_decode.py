"""The comparison of decoders: its files, going on, what is refused, and what its page claims."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from tests.laws.small_models import small_tokenizer
from torch import arange, zeros
from torch.nn import ParameterList
from transformers import AutoModelForCausalLM, MambaConfig

from forkpoint import cli, exits
from forkpoint.policies import TINY, fingerprint, load
from forkpoint.recipes import decode as recipe
from forkpoint.recipes._decode_page import decode_page
from forkpoint.recipes._decode_summary import contrasts, points, right
from forkpoint.recipes._decode_told import told
from forkpoint.recipes.decode import DOCUMENT, PROBLEMS, TIMES, Compared, Comparison, asked_for, decode
from forkpoint.record.documents import read_document, write_document
from forkpoint.tasks import Thinking
from forkpoint.tasks.countdown import countdown

SMALL = Comparison("tiny", methods=("greedy", "sample"), budgets=(40, 70), problems=6, settings={"temperature": 1.0})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(recipe, "PART", 4)


def test_every_decoder_budget_and_problem_has_a_row(tmp_path):
    found = decode(SMALL, tmp_path)
    assert [(row["method"], row["budget"]) for row in found.rows] == [
        (name, budget) for name in ("greedy", "sample") for budget in (40, 70) for _ in range(6)
    ]
    for row in found.rows:
        assert row["prompt"] + row["reread"] + row["kept"] + row["discarded"] <= row["budget"]
        assert row["verdict"] in ("correct", "wrong") and row["entropy"] >= 0
    document = json.loads((tmp_path / DOCUMENT).read_text())
    assert document["state"] == "done" and document["reads"] == {"greedy": "raw", "sample": "raw"}
    assert document["decoders"]["sample"]["temperature"] == 1.0


def test_interrupted_and_resumed_is_uninterrupted(tmp_path):
    decode(SMALL, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_after(rows):
        def show(done, of):
            if done >= rows:
                raise Stop

        return show

    for rows in (4, 10, 16):
        with pytest.raises(Stop):
            decode(SMALL, tmp_path / "cut", show=stop_after(rows))
        # a writer that was killed in the middle of a line, and of a part
        with (tmp_path / "cut" / PROBLEMS).open("a") as file:
            file.write('{"method": "gr')
    decode(SMALL, tmp_path / "cut")
    assert (tmp_path / "cut" / PROBLEMS).read_bytes() == (tmp_path / "whole" / PROBLEMS).read_bytes()
    assert len((tmp_path / "cut" / TIMES).read_text().splitlines()) == 8


def test_what_is_done_is_not_done_again(tmp_path):
    decode(SMALL, tmp_path)
    before = (tmp_path / TIMES).read_bytes()
    decode(SMALL, tmp_path)
    assert (tmp_path / TIMES).read_bytes() == before


def test_rows_without_a_time_are_of_a_part_that_was_not_finished(tmp_path):
    decode(SMALL, tmp_path)
    whole, times = (tmp_path / PROBLEMS).read_bytes(), (tmp_path / TIMES).read_text().splitlines(keepends=True)
    (tmp_path / TIMES).write_text("".join(times[:3]))
    decode(SMALL, tmp_path)
    assert (tmp_path / PROBLEMS).read_bytes() == whole


def test_decoders_that_do_not_draw_alike_are_told_with_the_remedy(tmp_path):
    apart = Comparison("tiny", methods=("greedy", "sample", "parallel_vote"), budgets=(40,), problems=2)
    said = (
        "not drawn alike (sample: temperature 1, top_p 1; parallel_vote: temperature 0.6, top_p 0.95); "
        "for one way to draw give --settings temperature=0.6 top_p=0.95"
    )
    found = told(apart, tmp_path / "apart")
    assert list(found.notes) == [said] and said in found.page.read_text(encoding="utf-8")
    alike = replace(apart, settings={"temperature": 0.6, "top_p": 0.95})
    assert not told(alike, tmp_path / "alike").notes


def test_decoders_of_thinking_that_met_none_are_told(tmp_path):
    thinking, methods = Thinking(end="yes answer", begin="("), ("sample", "soft_thinking", "tree_expansion")
    settings = {"temperature": 0.6, "top_p": 0.95, "top_k": 0, "max_tokens": 40}
    asked = Comparison("tiny", methods=methods, budgets=(400,), problems=4, settings=settings, thinking=thinking)
    found = told(asked, tmp_path)
    note = "soft_thinking at 400: no completion has a token of thinking, so all are plain completions (4 problems)"
    assert list(found.notes) == [note] and note in found.page.read_text(encoding="utf-8")


def test_a_folder_of_other_settings_or_weights_is_refused(tmp_path):
    decode(SMALL, tmp_path)
    with pytest.raises(ValueError, match=r"seed = 0, and seed = 1 is asked for; give the same settings, .*--overwrite"):
        decode(Comparison(**(vars(SMALL) | {"seed": 1})), tmp_path)
    document = read_document(tmp_path / DOCUMENT)
    write_document(tmp_path / DOCUMENT, document | {"weights": "00000000"})
    with pytest.raises(ValueError, match=r"of other weights than the model has now"):
        decode(SMALL, tmp_path)
    assert decode(SMALL, tmp_path, overwrite=True).rows


def test_a_damaged_line_is_named(tmp_path):
    decode(SMALL, tmp_path)
    lines = (tmp_path / PROBLEMS).read_text().splitlines(keepends=True)
    (tmp_path / PROBLEMS).write_text("".join([lines[0], "{]\n", *lines[2:]]))
    with pytest.raises(ValueError, match=r"problems.jsonl: line 2: has no checksum, .*--overwrite"):
        decode(SMALL, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("greedy", "greedy")}, "--methods greedy,greedy: name decoders, each once"),
        ({"methods": ()}, "--methods : name decoders"),
        ({"budgets": (70, 40)}, "--budget 70,40: give token counts, the smallest first"),
        ({"problems": 0}, "--problems 0: give 1 or more"),
        ({"problems": 10**6}, "--problems 1000000: the test split of countdown has "),
        ({"methods": ("gredy",)}, "no 'gredy' in decoders; did you mean 'greedy'"),
        ({"settings": {"top_q": 1.0}}, "--settings top_q: none of greedy, sample has it; did you mean 'top_"),
        ({"settings": {"temprature": 1.0}}, "none of greedy, sample has it; did you mean 'temperature'? there is "),
        (
            {"methods": ("parallel_vote",), "settings": {"parallel_vote.max_tokens": "true"}},
            "parallel_vote: max_tokens='true': it must be a whole number",
        ),
        ({"settings": {"samle.top_k": 1.0}}, "--settings samle.top_k: did you mean 'sample'"),
        ({"settings": {"sample.top_q": 1.0}}, "sample has no setting 'top_q'; did you mean 'top_"),
        ({"settings": {"temperature": 0.0}}, "sample: temperature=0.0: it must be from 1e-06 to 1e+06"),
        ({"budgets": (6,)}, "greedy: a budget of 6 tokens leaves none for problem "),
        ({"model": "./no/such"}, "model './no/such': no such folder"),
        ({"task": "countdwn"}, "no 'countdwn' in tasks; did you mean 'countdown'"),
        ({"task": "dyck", "methods": ("soft_thinking",)}, "soft_thinking ends thinking at a marker"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, change, message):
    with pytest.raises(ValueError) as refused:
        decode(Comparison(**(vars(SMALL) | {"settings": {}} | change)), tmp_path)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("methods", "budgets", "think", "message"),
    [
        ("greedy", "many", ("", "", ""), "--budget many: give whole numbers"),
        ("greedy", "64,", ("", "", ""), "--budget 64,: give whole numbers"),
        ("greedy", "64", ("<t>", "", ""), "--think-begin '<t>': give --think-end too"),
    ],
)
def test_flags_that_say_nothing_are_refused(methods, budgets, think, message):
    with pytest.raises(ValueError, match=message):
        asked_for(methods, budgets, think, model="tiny")


def test_one_decoder_may_stand_there_twice_by_two_names(tmp_path):
    methods, settings = ("cold=sample", "warm=sample"), {"cold.temperature": 0.1, "temperature": 1.0}
    found = decode(Comparison("tiny", methods=methods, budgets=(60,), problems=6, settings=settings), tmp_path)
    assert [row["method"] for row in found.rows] == ["cold"] * 6 + ["warm"] * 6
    assert [row["text"] for row in found.of("cold", 60)] != [row["text"] for row in found.of("warm", 60)]
    assert json.loads((tmp_path / DOCUMENT).read_text())["decoders"]["cold"]["temperature"] == 0.1


def test_markers_of_ones_own_are_kept_with_the_rows(tmp_path):
    thinking = Thinking(end="answer", again="try")
    asked = Comparison("tiny", methods=("soft_thinking",), budgets=(60,), problems=4, thinking=thinking)
    decode(asked, tmp_path)
    stored = read_document(tmp_path / DOCUMENT)["asked"]["thinking"]
    assert stored == {"end": "answer", "again": "try", "begin": "", "given_up": {}}
    assert decode(asked, tmp_path).rows, "and are the same settings again"


def test_the_task_s_other_markers_stay_where_one_is_named(tmp_path):
    asked = asked_for("budget_forcing", "60", ("", "answer", ""), model="tiny", problems=4)
    own = countdown().thinking
    assert asked.thinking == replace(own, end="answer")
    assert any(row["forced"] for row in decode(asked, tmp_path).rows), "it has what makes thinking go on"
    assert asked_for("greedy", "60", ("", "", "try"), model="tiny").thinking == replace(own, again="try")
    with pytest.raises(ValueError, match="--think-again 'try': give --think-end too"):
        asked_for("greedy", "60", ("", "", "try"), model="tiny", task="dyck")
    assert asked_for("greedy", "60", ("", "</t>", ""), model="tiny", task="dyck").thinking == Thinking(end="</t>")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("verb", ["decode", "failures"])
def test_what_a_generation_config_asks_for_beyond_decoders_is_told_once(verb, tmp_path, capsys):
    model, tokenizer = load(TINY)
    model.generation_config.repetition_penalty, model.generation_config.no_repeat_ngram_size = 1.3, 3
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    few = ["--problems", "2", "--out", str(tmp_path / "out")]
    words = {
        "decode": [str(tmp_path / "model"), "--methods", "greedy", "--budget", "50"],
        "failures": [str(tmp_path / "model"), "tiny", "--k", "2", "--paths", "2", "--settings", "stop.threshold=0.1"],
    }[verb]
    assert cli.main([verb, *words, *few]) == exits.DONE
    said = "its generation config asks for repetition_penalty=1.3, no_repeat_ngram_size=3, which decoders do not apply"
    assert capsys.readouterr().err.count(said) == 1


def test_prompts_go_through_the_chat_template_where_that_is_asked(tmp_path):
    model, tokenizer = load(TINY)
    tokenizer.chat_template = "{{ messages[0]['content'] }}{% if add_generation_prompt %} try{% endif %}"
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    about = {"methods": ("greedy",), "budgets": (60,), "problems": 4}
    found = decode(Comparison(str(tmp_path / "model"), chat=True, **about), tmp_path / "out")
    plain = decode(Comparison(str(tmp_path / "model"), **about), tmp_path / "plain")
    assert [row["prompt"] for row in found.rows] == [7] * 4 and [row["prompt"] for row in plain.rows] == [6] * 4
    # greedy begins with "try" by itself: put into the prompt, it is missing from the text
    assert [f"try {row['text']}" for row in found.rows] == [row["text"] for row in plain.rows]
    with pytest.raises(ValueError, match="model 'tiny': its tokenizer has no chat template; leave --chat out"):
        decode(Comparison("tiny", chat=True, **about), tmp_path / "none")


def test_times_count_what_the_model_did(tmp_path):
    """A position holds 2,048 bytes: keys and values of four heads of 16 numbers in four layers, four bytes each."""
    found = decode(Comparison("tiny", methods=("greedy",), budgets=(40,), problems=4), tmp_path)
    (took,) = found.times
    longest = max(row["kept"] for row in found.rows)
    assert took["forwards"] == longest, "one for the prompts, and one for every token but the last"
    assert took["cache_bytes"] % 2048 == 0 and 0 < took["cache_bytes"] / 2048 <= 4 * (6 + longest)
    assert took["cpu_s"] > 0 and took["wall_s"] > 0


def test_what_a_decoder_says_of_its_answers_is_printed(tmp_path, capsys):
    words = ["--methods", "greedy,deep_confidence", "--budget", "256", "--problems", "4", "--out", str(tmp_path)]
    assert cli.main(["decode", "tiny", *words]) == exits.DONE
    told = capsys.readouterr()
    said = "all paths were of the warm-up (warmup=16), so none could be stopped early (2 problems)"
    assert f"deep_confidence at 256: {said}" in told.err and told.err.count("warmup") == 1
    assert "greedy at" not in told.err and said in (tmp_path / "decode.html").read_text()


def test_decoders_that_did_not_act_say_so_once(tmp_path):
    """At 256 tokens six chains leave nothing to branch with, and no completion is as long as a segment of 64."""
    methods = ("greedy", "abstractions", "tree_expansion", "entropy_branching")
    found = told(Comparison("tiny", methods=methods, budgets=(120, 256), problems=4), tmp_path)
    assert [note for note in found.notes if "drawn alike" not in note] == [
        f"{name} at 120 and 256: {why} (4 and 4 problems)"
        for name, why in {
            "abstractions": "no abstraction within the budget, so all are plain samples",
            "tree_expansion": "the budget paid for no branch, so all are plain chains",
            "entropy_branching": "no row was longer than segment=64, so none forked",
        }.items()
    ]


def test_two_checkpoints_are_told_apart():
    model, _ = load(TINY)
    before = fingerprint(model)
    assert before == fingerprint(load(TINY)[0])
    for parameter in model.parameters():
        numbers = parameter.data.view(-1)
        kept, numbers[-1] = numbers[-1].item(), numbers[-1] + 1e-3
        assert fingerprint(model) != before, "one number, the last of a tensor"
        numbers[-1] = kept
    assert fingerprint(model) == before
    rows = next(iter(model.parameters())).data
    rows[[20, 30]] = rows[[30, 20]]
    assert fingerprint(model) != before
    assert len({fingerprint(ParameterList([zeros(size)])) for size in (0, 1, 9000)}) == 3
    assert fingerprint(ParameterList([arange(9001.0)[1:]])) == fingerprint(ParameterList([arange(1.0, 9001)]))


# ---- what is said of it


def made(verdicts, tokens=50):
    """A comparison whose decoder ``a`` and ``b`` got these verdicts."""
    names = tuple(verdicts)
    rows = [
        {"method": name, "budget": 64, "problem": str(i), "verdict": verdict, "prompt": 6, "reread": 0}
        | {"kept": tokens, "discarded": 0, "traces": 1}
        for name, column in verdicts.items()
        for i, verdict in enumerate(column)
    ]
    times = [{"method": n, "budget": 64, "problems": 1, "cpu_s": 1.0, "cache_bytes": 5000} for n in names]
    asked = Comparison("tiny", methods=tuple(f"{n}=greedy" for n in names), budgets=(64,), problems=len(rows) // 2)
    return Compared(asked, Path("none"), tuple(rows), tuple(times))


def test_no_verdict_is_not_wrong():
    found = points(made({"a": ["correct", "wrong"], "b": ["correct", "none"]}))
    assert [point.accuracy.value for point in found] == [0.5, 1.0]
    assert [point.no_verdict for point in found] == [0, 1] and found[1].accuracy.problems == 1
    assert math.isnan(right([{"verdict": "none"}])[0])


def test_a_difference_is_claimed_only_where_the_sign_test_bears_it_out():
    some = made({"a": ["wrong"] * 20, "b": ["correct"] * 3 + ["wrong"] * 17})
    (one,) = contrasts(some)
    assert (one.better, one.worse, one.difference.value) == (3, 0, 0.15) and one.p == 0.25
    assert "none is sure to differ from a" in decode_page(some)
    many = made({"a": ["wrong"] * 20, "b": ["correct"] * 10 + ["wrong"] * 10})
    assert "Holm over" not in decode_page(many), "there is one row"
    assert contrasts(many)[0].p == 2 / 2**10 and "b (+0.500) differs from a" in decode_page(many)


def test_a_decoder_is_called_as_it_is_written_and_discards_what_it_does_not_let_vote(tmp_path):
    asked = Comparison("tiny", methods=("entropy_branching",), budgets=(200,), problems=4)
    compared = decode(asked, tmp_path)
    (point,) = points(compared)
    page = decode_page(compared)
    assert point.traces == 4 and point.discarded > point.kept, "one of four rows is the answer"
    assert f"Most is thrown away by entropy_branching at 200: {point.discarded / point.tokens.value:.1%}" in page
    assert "Every token is of a trace that was let vote." in decode_page(made({"a": ["wrong"], "b": ["wrong"]}))


# ---- the verb


def test_the_verb_prints_tables_and_writes_the_page(tmp_path, capsys):
    words = ["decode", "tiny", "--methods", "greedy,parallel_vote", "--budget", "60,120", "--problems", "4"]
    assert cli.main([*words, "--settings", "max_tokens=56", "--out", str(tmp_path)]) == exits.DONE
    out = capsys.readouterr().out
    assert "parallel_vote" in out and "less greedy" in out and str(tmp_path / "decode.html") in out
    page = (tmp_path / "decode.html").read_text()
    assert "What the tokens bought" in page and "https://" not in page.partition("<script>")[0]
    assert cli.main([*words, "--settings", "max_tokens=56", "--out", str(tmp_path), "--json"]) == exits.DONE
    told = json.loads(capsys.readouterr().out)
    assert len(told["points"]) == 4 and len(told["contrasts"]) == 2


def test_a_model_without_a_key_value_cache_is_refused_in_one_line(tmp_path):
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    AutoModelForCausalLM.from_config(MambaConfig(**shape, vocab_size=64)).save_pretrained(tmp_path / "model")
    small_tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"^model '.*/model': it keeps no key-value cache, which decoding needs"):
        decode(replace(SMALL, model=str(tmp_path / "model")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_verb_refuses_in_one_line(tmp_path, capsys):
    assert cli.main(["decode", "tiny", "--budget", "6", "--out", str(tmp_path)]) == exits.USAGE
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("forkpoint: error: greedy: a budget of 6 tokens leaves none")
