"""Stop rules in vLLM: signatures as recorded, our decoders' tokens whatever its batches do, refusals in one line."""

import inspect
import json
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from tests.decoders.table_model import END, PROMPT, WORDS, A, B, C, X, random_table, table_policy
from tests.engines.fake_vllm import NONE, PARAMS, Asked, Direction, params, run_v1, run_v2

from forkpoint.decoders import Ask, ColdStop, Decode, Markers, Row, Warp, build
from forkpoint.decoders._machine import Action, complete, single
from forkpoint.decoders._words import ends
from forkpoint.decoders.deep_confidence import Confident
from forkpoint.engines import vllm
from forkpoint.engines._rules import stop_of
from forkpoint.engines.reprompt import Prompt

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "vllm_0_33_0.json").read_text(encoding="utf-8"))
MARKER, LIMIT = (C, X), 40
TABLE = random_table(ends=0.02)
ENDS = {"forkpoint_end": list(MARKER)}
RULES = {
    "cold_stop": {"threshold": 1.2, "patience": 3},
    "entropy_stop": {"threshold": 1.0, "window": 3, "entropy": "raw"},
    "deep_confidence": {"threshold": 2.4, "window": 3, "k": 4},
}
CONFIG = SimpleNamespace(speculative_config=None)


def classes(file):
    (found,) = [entry["classes"] for path, entry in GOLDEN["files"].items() if path == file]
    return found


def logits(read):
    found = torch.full((len(WORDS),), -torch.inf)
    for token, p in TABLE(read).items():
        found[token] = torch.tensor(p).log()
    return found


def prompts(num=9):
    return [(PROMPT, *[random.Random(i).choice((A, B)) for _ in range(1 + i % 4)]) for i in range(num)]


class Colds(NamedTuple):
    """Cold Stop on tokens, in our loop."""

    threshold: float
    patience: int
    warp = Warp()
    reads = "raw"

    def init(self, num, policy):
        return {"cold": torch.zeros(num, dtype=torch.long)}

    def step(self, state, look):
        stop, counts = ColdStop(self.threshold, self.patience), look.thinking & look.free
        cold = stop.count(state["cold"], look.next.entropy("raw"), counts)
        return {"cold": cold}, Action(look.next.likeliest, put=ends(look, counts & stop.over(cold)))


def ours(rule, begin=()):
    """What our own loop writes: the likeliest token unless the rule says otherwise."""
    policy, settings, likeliest = table_policy(TABLE, Markers(end=MARKER, begin=begin)), RULES[rule], {"top_p": 1e-6}
    asks = [Ask(str(i), prompt) for i, prompt in enumerate(prompts())]
    if rule == "deep_confidence":
        rows = [Row(ask, limit=LIMIT, threshold=settings["threshold"]) for ask in asks]
        machine = Confident(Warp(**likeliest), "raw", settings["window"], settings["k"])
        traces = complete(Decode(policy, asks, 99), machine, rows)
        # an engine ends by an end token, ours by itself
        return [[*t.ids, *([END] if t.finish == "stopped" and len(t.ids) < LIMIT else [])] for t in traces]
    made = single(Colds(**settings)) if rule == "cold_stop" else build(rule, **settings, **likeliest)
    return [list(made.decode(policy, [ask], len(ask.prompt) + LIMIT)[0].traces[0].ids) for ask in asks]


def extra(rule):
    end = {"forkpoint_end": [END]} if rule == "deep_confidence" else ENDS
    return {"forkpoint_stop": rule, **end, **{f"forkpoint_{k}": v for k, v in RULES[rule].items()}}


def engine(version, given, seed):
    pairs = enumerate(zip(prompts(), given, strict=True))
    asked = [Asked(prompt, params(one), LIMIT, END, pieces=i % 3) for i, (prompt, one) in pairs]
    chance = random.Random(seed)
    if version == "V1":
        run_v1(vllm.V1(CONFIG, "cpu", False), logits, asked, chance)
    else:
        run_v2(lambda states: vllm.V2(CONFIG, states), logits, asked, chance)
    return asked


both = pytest.mark.parametrize("version", ["V1", "V2"])


@both
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_an_engine_stops_where_our_decoder_does(version, rule, seed):
    found = [one.written for one in engine(version, [extra(rule)] * 9, seed)]
    assert found == ours(rule)
    forced = [MARKER[0] in ids for ids in found] if rule != "deep_confidence" else [ids[-1] == END for ids in found]
    assert any(forced), "the rule has something to do"


@both
@pytest.mark.parametrize("rule", ["cold_stop", "entropy_stop"])
def test_an_engine_counts_a_second_thought_as_our_decoder_does(version, rule):
    found = [one.written for one in engine(version, [{**extra(rule), "forkpoint_begin": [B]}] * 9, 4)]
    assert found == ours(rule, (B,))
    assert any(ids.count(MARKER[0]) > 1 for ids in found), "there is a second thought"


@both
def test_rows_without_a_rule_and_rules_that_never_fire_are_untouched_bit_for_bit(version):
    never = {"forkpoint_stop": "cold_stop", **ENDS, "forkpoint_threshold": 0.0}
    given = [None, never, extra("entropy_stop")] * 3
    for one, asked in zip(engine(version, given, 5), given, strict=True):
        if asked is not given[2]:
            assert all(torch.equal(before, after) for before, after in one.seen)


@both
def test_the_whole_marker_is_put_one_token_per_step_and_nothing_else_is_possible(version):
    always = {"forkpoint_stop": "cold_stop", **ENDS, "forkpoint_threshold": 99.0, "forkpoint_patience": 2}
    for one in engine(version, [always] * 9, 1):
        if len(one.written) > 3:
            assert one.written[1:3] == [C, X]
            assert [after.isfinite().nonzero().tolist() for _, after in one.seen[1:3]] == [[[C]], [[X]]]


def test_a_request_that_comes_back_with_its_thinking_done_is_left_alone():
    """Model Runner V2 reads prompt and answer again; what was written tells where the request stands."""
    always = {"forkpoint_stop": "cold_stop", **ENDS, "forkpoint_threshold": 99.0, "forkpoint_patience": 1}
    for written, forced in (((C, X, A), False), ((A, B, A), True)):
        ids = SimpleNamespace(gpu=torch.tensor([[PROMPT, A, *written]]))
        lengths = {"prompt_len": SimpleNamespace(np=[2]), "prefill_len": SimpleNamespace(np=[5])}
        processor = vllm.V2(CONFIG, SimpleNamespace(all_token_ids=ids, **lengths))
        processor.add_request(0, params(always))
        here = {"idx_mapping_np": torch.tensor([0]), "input_ids": torch.tensor([A])}
        after = processor.apply(
            torch.zeros(1, len(WORDS)), SimpleNamespace(**here, seq_lens_upper_bound_np=torch.tensor([5]))
        )
        assert (after[0, C] == 0 and int(after.isfinite().sum()) == 1) == forced


def test_thinking_begins_where_its_marker_does():
    """Prompts end in B; with B as what begins thinking the rule acts, with an id that never comes it does not."""
    always = {"forkpoint_stop": "cold_stop", **ENDS, "forkpoint_threshold": 99.0, "forkpoint_patience": 1}
    for begin, acts in ((B, True), (17, False)):
        one = Asked((PROMPT, B), params({**always, "forkpoint_begin": [begin]}), 4, END)
        run_v1(vllm.V1(CONFIG, "cpu", False), logits, [one], random.Random(0))
        assert (one.written[:2] == [C, X]) == acts


# ---- the interface


INTERFACES = {
    "V1": "vllm/v1/sample/logits_processor/interface.py",
    "V2": "vllm/v1/worker/gpu/sample/logits_processor/interface.py",
}


@both
def test_methods_and_parameters_are_those_of_the_recorded_interface(version):
    mine, theirs = getattr(vllm, version), classes(INTERFACES[version])["LogitsProcessor"]["methods"]
    for name, method in theirs.items():
        if method["abstract"] or name in vars(mine) or name == "validate_params":
            parameters = [*inspect.signature(getattr(mine, name)).parameters]
            assert [p for p in parameters if p != "self"] == method["parameters"]
    public = {name for name, value in inspect.getmembers(mine, callable) if not name.startswith("_")}
    assert public <= set(theirs), "nothing beside the interface is public"


def test_the_fakes_have_the_fields_that_are_recorded():
    first, second = (classes(INTERFACES[version]) for version in ("V1", "V2"))
    assert first["MoveDirectionality"]["fields"] == [each.name for each in Direction]
    assert {"removed", "added", "moved", "batch_size"} == set(first["BatchUpdate"]["fields"])
    assert {"prompt_len", "prefill_len", "all_token_ids"} <= set(second["LogitsProcRequestState"]["fields"])
    assert {"idx_mapping_np", "seq_lens_upper_bound_np", "input_ids"} <= set(second["LogitsContext"]["fields"])
    known = set(classes("vllm/sampling_params.py")["SamplingParams"]["fields"])
    assert {*PARAMS, *NONE, "extra_args"} <= known
    assert set(vllm.sampling(Prompt((1,), 2, 3, (0,), Warp(), 4))) <= known
    assert "use_tqdm" in classes("vllm/entrypoints/llm.py")["LLM"]["methods"]["generate"]["keywords"]
    assert {"token_ids", "logprobs"} <= set(classes("vllm/outputs.py")["CompletionOutput"]["fields"])


@both
def test_the_engine_gets_a_class_of_its_own_kind_when_it_asks(version, monkeypatch):
    name = f"Stops{version}"
    monkeypatch.delitem(vars(vllm), name, raising=False)
    with pytest.raises(ImportError, match=f"{name} needs vLLM with vllm"):
        getattr(vllm, name)
    module = ModuleType(vllm.INTERFACES[name])
    module.LogitsProcessor = type("LogitsProcessor", (), {})
    parts = vllm.INTERFACES[name].split(".")
    for i in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:i]), ModuleType(".".join(parts[:i])))
    monkeypatch.setitem(sys.modules, vllm.INTERFACES[name], module)
    made = getattr(vllm, name)
    assert issubclass(made, module.LogitsProcessor) and issubclass(made, getattr(vllm, version))
    monkeypatch.delitem(vars(vllm), name)


# ---- refused


@both
def test_speculative_decoding_is_refused(version):
    config = SimpleNamespace(speculative_config=object())
    arguments = ("cpu", False) if version == "V1" else (None,)
    with pytest.raises(ValueError, match="leave speculative decoding out"):
        getattr(vllm, version)(config, *arguments)


@pytest.mark.parametrize(
    ("given", "changed", "message"),
    [
        ({"forkpoint_stop": "entropy_stp", **ENDS}, {}, "did you mean 'entropy_stop'"),
        ({"forkpoint_stop": "entropy_stop"}, {}, "forkpoint_end: name the ids"),
        ({"forkpoint_stop": "entropy_stop", **ENDS, "forkpoint_windw": 3}, {}, "did you mean 'window'"),
        ({"forkpoint_stop": "entropy_stop", **ENDS, "forkpoint_window": 0}, {}, "window=0"),
        ({"forkpoint_stop": "entropy_stop", **ENDS, "forkpoint_window": "3"}, {}, "must be a whole number"),
        ({"forkpoint_stop": "entropy_stop", "forkpoint_end": "</think>"}, {}, "a list of token ids"),
        ({"forkpoint_stop": "deep_confidence", **ENDS}, {}, "takes it from warm-up paths"),
        ({"forkpoint_stop": "cold_stop", **ENDS, "forkpoint_entropy": "all"}, {}, "choose 'raw'"),
        ({"forkpoint_stop": "cold_stop", **ENDS, "forkpoint_entropy": "tempered"}, {"temperature": 0}, "there is none"),
        (extra("cold_stop"), {"structured_outputs": object()}, "cannot stand beside"),
        (extra("cold_stop"), {"thinking_token_budget": 9}, "cannot stand beside"),
        (extra("cold_stop"), {"allowed_token_ids": [A]}, "not all of them"),
    ],
)
@both
def test_a_request_that_cannot_be_served_is_refused_in_one_line(version, given, changed, message):
    with pytest.raises(ValueError, match=message) as error:
        getattr(vllm, version).validate_params(params(given, **changed))
    assert "\n" not in str(error.value)


def test_arguments_of_a_rule_are_flat_and_read_back():
    ids = {"</think>": [7, 8], "<think>": [6], "Wait": [5]}
    tokenizer = SimpleNamespace(encode=lambda text, **_: ids[text], unk_token_id=None, eos_token_id=0)
    given = vllm.stop_args("entropy_stop", tokenizer, window=4)
    assert stop_of(given).end == (7, 8) and stop_of(given).begin == (6,)
    assert stop_of(vllm.stop_args("deep_confidence", tokenizer, threshold=2.0)).end == (0,)
    assert stop_of({"another": 1}) is stop_of(None) is None
    vllm.V1.validate_params(params(given))


def test_twenty_log_probs_are_read_where_the_drawn_one_is_a_twenty_first():
    places = [{i: SimpleNamespace(logprob=-float(i)) for i in range(20)} | {99: SimpleNamespace(logprob=-50.0)}]
    one = vllm.written([99], places)
    assert one.logps == (-50.0,) and one.top == (tuple(-float(i) for i in range(20)),)
