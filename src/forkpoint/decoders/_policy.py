"""A causal LM as a decoder sees it: which ids it may draw, where its answers end, and what marks its thinking."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from types import MappingProxyType
from typing import Any

from forkpoint.policies import load, on_accelerator
from forkpoint.policies.chat import Chatting
from forkpoint.policies.ids import ends_of, fitted
from forkpoint.tasks import Thinking

CHAT = Thinking(end="</think>", again="Wait", begin="<think>")
"""the markers that most reasoning models have as one token each"""
NEUTRAL: Mapping[str, Any] = MappingProxyType(
    {
        "repetition_penalty": 1.0,
        "encoder_repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "encoder_no_repeat_ngram_size": 0,
        "exponential_decay_length_penalty": None,
        "min_length": 0,
        "min_new_tokens": None,
        "bad_words_ids": None,
        "sequence_bias": None,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
        "forced_bos_token_id": None,
        "forced_eos_token_id": None,
        "guidance_scale": None,
        "watermarking_config": None,
        "stop_strings": None,
        "num_beams": 1,
    }
)
"""what a generation config may ask of ``generate`` whether it draws or not -> the value that asks for nothing"""


@dataclass(frozen=True)
class Markers:
    """The text of ``Thinking`` as ids; each may be several."""

    end: tuple[int, ...]
    again: tuple[int, ...] = ()
    """empty where the tokenizer does not know its words"""
    begin: tuple[int, ...] = ()
    """empty where the prompt has begun the thinking"""
    given_up: Mapping[tuple[int, ...], tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass
class Meter:
    """What decoding took of the machine, summed and at most over all batches."""

    forwards: int = 0
    """calls of the model"""
    positions: int = 0
    """positions read, padding included"""
    cached: int = 0
    """most positions that lay in the key-value cache at a time, over all rows"""


@dataclass(frozen=True, eq=False)
class Policy:
    """A model, its tokenizer and what decoding needs to know of both; ``policy_of`` makes one."""

    model: Any
    tokenizer: Any
    vocabulary: int
    """ids below it have a text; logits above (padding of the embedding) are never drawn"""
    ends: tuple[int, ...]
    """ids after which a completion is complete"""
    context: int | None
    """most tokens of prompt and completion together; None where the model states none"""
    markers: Markers | None
    """None where the model has no thinking phase that a decoder could end"""
    meter: Meter = field(default_factory=Meter)
    engine: Callable[..., Any] | None = None
    """what completes rows in place of the model: ``complete``'s arguments and result"""
    name: str = ""
    """what errors call the model"""

    @property
    def bytes_per_position(self) -> int:
        """Of the key-value cache: two numbers per layer, head and dimension; an estimate for other attentions."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * heads * width * self.model.dtype.itemsize

    def warn_unapplied(self) -> None:
        """Warn where the model's generation config asks for what no decoder applies, such as a repetition penalty."""
        found = {name: getattr(self.model.generation_config, name, None) for name in NEUTRAL}
        told = [f"{name}={value}" for name, value in found.items() if value not in (None, NEUTRAL[name], [], {})]
        if told:
            what = f"its generation config asks for {', '.join(told)}, which decoders do not apply"
            warnings.warn(f"model {self.name!r}: {what}", stacklevel=2)

    def encode(self, text: str, *, chat: bool = False) -> tuple[int, ...]:
        """A prompt's ids; with ``chat`` by the tokenizer's chat template, as one user's turn."""
        tokenizer = Chatting(self.tokenizer, self.name) if chat else self.tokenizer
        return tuple(tokenizer([text])["input_ids"][0])

    def text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def needs_markers(self, name: str) -> Markers:
        """Its markers. Raises ValueError, for the decoder ``name``, where it has none."""
        if self.markers is None:
            raise ValueError(f"{name} ends thinking at a marker, and this model and task name none; give --think-end")
        return self.markers


def load_policy(model: str, thinking: Thinking | None = None) -> Policy:
    """The policy ``tiny``, a folder or a Hub id; raises ValueError in one line where it cannot be decoded from."""
    try:
        network, tokenizer = load(model)
        if "past_key_values" not in signature(network.forward).parameters:
            raise ValueError("it keeps no key-value cache, which decoding needs; forkpoint probe draws from it")
        return replace(policy_of(on_accelerator(network), tokenizer, thinking), name=model)
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith("model ") else f"model {model!r}: {error}") from None


def policy_of(model: Any, tokenizer: Any, thinking: Thinking | None = None) -> Policy:
    """What decoding needs to know of a model; markers by ``thinking``, or ``<think>`` ... where the tokenizer has them.

    Raises ValueError where the tokenizer has more tokens than the model, no end token is known, or a marker has no ids.
    """
    config = model.config.get_text_config()
    vocabulary, ends = fitted(model, tokenizer), ends_of(model, tokenizer)
    known = tokenizer.get_vocab()
    thinking = thinking or (CHAT if CHAT.end in known else None)
    markers = thinking and markers_of(tokenizer, thinking)
    context = getattr(config, "max_position_embeddings", None)
    return Policy(model.eval(), tokenizer, vocabulary, ends, context, markers or None)


def markers_of(tokenizer: Any, thinking: Thinking = CHAT) -> Markers:
    """The ids of a task's markers. Raises ValueError where the tokenizer does not know one that must be there."""

    def ids(text: str) -> tuple[int, ...]:
        found = tuple(tokenizer.encode(text, add_special_tokens=False)) if text else ()
        return () if tokenizer.unk_token_id in found else found

    for text in (thinking.end, thinking.begin):
        if text and not ids(text):
            raise ValueError(f"the marker {text!r} is not in its vocabulary; name another, as with --think-end")
    given_up = {ids(text): ids(instead) for text, instead in thinking.given_up.items() if ids(text)}
    return Markers(ids(thinking.end), ids(thinking.again), ids(thinking.begin), given_up)
