"""Prompts through a chat template: the ids that the tokenizer itself gives, wherever prompts are read."""

from pathlib import Path

import pytest
from tokenizers.processors import TemplateProcessing

from forkpoint.policies import TINY, load
from forkpoint.policies.chat import Chatting
from forkpoint.probes._asked import Asked
from forkpoint.probes._run import probe
from forkpoint.recipes.failures import Failures, failures

PROMPTS = ["4 7 9 target 55 think", "1 2 3 target 5 think"]


@pytest.fixture(scope="module")
def talker(tmp_path_factory) -> Path:
    """The tiny policy, with a template that opens its turn as it would open it itself."""
    place = tmp_path_factory.mktemp("talker")
    model, tokenizer = load(TINY)
    tokenizer.chat_template = "{{ messages[0]['content'] }}{% if add_generation_prompt %} try{% endif %}"
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def test_ids_are_the_template_s_with_its_special_tokens_once(talker: Path):
    _, tokenizer = load(str(talker))
    tokenizer.chat_template = "<pad> {{ messages[0]['content'] }} yes"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<pad> $A", special_tokens=[("<pad>", 0)])
    assert tokenizer(PROMPTS)["input_ids"][0][0] == 0, "as tokenizers do that begin every text with a token"
    found = Chatting(tokenizer, "m")(PROMPTS)["input_ids"]
    turns = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    assert found == [tokenizer.apply_chat_template(turn, return_dict=True)["input_ids"] for turn in turns]
    assert [row.count(0) for row in found] == [1, 1]


def test_all_else_is_the_tokenizer_s(talker: Path):
    _, tokenizer = load(str(talker))
    chatting = Chatting(tokenizer, "m")
    assert len(chatting) == len(tokenizer) and chatting.pad_token_id == tokenizer.pad_token_id
    padded = chatting(["4 7", PROMPTS[0]], return_tensors="pt", padding=True, padding_side="left")
    assert padded["attention_mask"].tolist() == [[0] * 4 + [1] * 3, [1] * 7]


def test_a_probe_draws_behind_the_template(talker: Path, tmp_path: Path):
    about = {"problems": 4, "k": 2, "temperature": 1e-4, "crossed": 2}
    (plain,) = probe([str(talker)], Asked("", "countdown", **about), tmp_path / "plain")
    (found,) = probe([str(talker)], Asked("", "countdown", chat=True, **about), tmp_path / "chat")
    texts = [text for one in found.samples.problems for text in one.texts]
    # the template has written the first word
    assert [f"try {text}" for text in texts] == [text for one in plain.samples.problems for text in one.texts]
    assert found.samples.crossed is not None and found.samples.problems[0].prompt == plain.samples.problems[0].prompt
    with pytest.raises(ValueError, match="model 'tiny': its tokenizer has no chat template; leave --chat out"):
        probe(["tiny"], Asked("", "countdown", chat=True, **about), tmp_path / "none")


def test_both_failures_are_read_behind_the_template(talker: Path, tmp_path: Path):
    settings = {"window": 8.0, "stop.threshold": 0.1}
    asked = Failures((str(talker),) * 2, waits=(1,), problems=4, k=2, paths=2, settings=settings, chat=True)
    arm = failures(asked, tmp_path / "out")[0]
    for samples in (arm.samples, arm.free, arm.stop, *arm.forced.values()):
        texts = [text for one in samples.problems for text in one.texts]
        assert texts and not any(text.startswith("try ") for text in texts)
    with pytest.raises(ValueError, match="model 'tiny': its tokenizer has no chat template; leave --chat out"):
        failures(Failures(("tiny",) * 2, chat=True, settings=settings), tmp_path / "none")
