"""``scripted_policy``: a model whose logits follow a rule of what it has read, for traces worked by hand."""

from collections.abc import Callable, Sequence
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from forkpoint import catalog
from forkpoint.decoders import Ask, Markers, Policy, load_policy
from forkpoint.tasks import Task

Rule = Callable[[Tensor], Sequence[float]]
"""what a row has read, (T, V), each place the weights of the ids in its input -> the next token's logits"""


class ScriptedCache:
    """Everything that was read."""

    def __init__(self, read: Tensor):
        self.read = read

    def reorder_cache(self, rows: Tensor) -> None:
        self.read = self.read[rows]


class ScriptedModel:
    """Embeds id i as the i-th unit vector, so that a mixture is read as its weights."""

    def __init__(self, rule: Rule, size: int):
        self.rule, self.table, self.device = rule, torch.nn.Embedding.from_pretrained(torch.eye(size)), "cpu"

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.table

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, past_key_values=None, use_cache=True):
        new = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        read = new if past_key_values is None else torch.cat([past_key_values.read, new], 1)
        seen = torch.ones(read.shape[:2]) if attention_mask is None else attention_mask
        rows = [self.rule(row[mask.bool()]) for row, mask in zip(read, seen, strict=True)]
        return SimpleNamespace(logits=torch.tensor(rows).float()[:, None], past_key_values=ScriptedCache(read))

    __call__ = forward


class ScriptedTokenizer:
    def __init__(self, words: Sequence[str]):
        self.words = words

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return " ".join(self.words[i] for i in ids if self.words[i])


@pytest.fixture
def scripted_policy() -> Callable[..., Policy]:
    """``(rule, words, markers=None)``; id 0 is the end token, which has no text, and no context is too long."""

    def make(rule: Rule, words: Sequence[str], markers: Markers | None = None) -> Policy:
        return Policy(ScriptedModel(rule, len(words)), ScriptedTokenizer(words), len(words), (0,), None, markers)

    return make


@pytest.fixture(scope="session")
def scripted_logits() -> Callable[..., list[float]]:
    """``(words, a=.5, b=.3)``: logits of a distribution over the words, the end token's name being ``end``."""

    def logits(words: Sequence[str], **p: float) -> list[float]:
        return torch.tensor([p.get(word or "end", 1e-6) for word in words]).log().tolist()

    return logits


@pytest.fixture(scope="session")
def countdown() -> Task:
    return catalog.get("tasks", "countdown")()


@pytest.fixture(scope="session")
def tiny_policy(countdown: Task) -> Policy:
    return load_policy("tiny", countdown.thinking)


@pytest.fixture(scope="session")
def tiny_asks(countdown: Task, tiny_policy: Policy) -> list[Ask]:
    """Sixteen problems."""
    problems = islice(countdown.problems("test", 3), 16)
    return [Ask(p.id, tiny_policy.encode(p.prompt), lambda text, p=p: countdown.answer(p, text)) for p in problems]
