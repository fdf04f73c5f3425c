"""Planning tokens by the characters they wrote: a tokenizer whose tokens do not align with words, and characters of
several tokens."""

import pytest
import torch

from forkpoint.batch import Label
from forkpoint.policies import load
from forkpoint.strategic_grams import StrategicGrams
from forkpoint.trainers._labels import gram_labels, labeled_by_grams
from forkpoint.trainers._offsets import character_offsets

GRAMS = StrategicGrams((("let me check", "maybe we should"),), (2,), 2)
TEXT = "So 12. Let me check: ünïcode 🙂 — maybe we should, or not 漢字"
CORPUS = ["o l et me ch eck th at so.L", "maybewe should", "let me", " me ch", "aybe w", "12. Let", "e check: ", "not"]


@pytest.fixture(scope="module")
def byte_level():
    """A byte-level BPE whose merges cross word boundaries: it pretokenizes nothing."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS * 50 + [TEXT] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", pad_token="<end>")


def wanted(offsets, text):
    """By the encoder's own offsets, which the code under test never asks for."""
    inside = {i for start, end in GRAMS.spans(text) for i in range(start, end) if not text[i].isspace()}
    return [Label.PLANNING if inside & set(range(*span)) else Label.EXECUTION for span in offsets]


def test_tokens_cross_words_and_labels_go_by_characters(byte_level):
    encoded = byte_level(TEXT, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    text, spans = character_offsets(byte_level, ids)
    assert text == TEXT
    crossing = [TEXT[a:b] for a, b in offsets if " " in TEXT[a:b].strip()]
    assert crossing, "no token crosses a word boundary, so this would prove nothing"
    assert spans == [tuple(span) for span in offsets]
    labels = gram_labels(GRAMS, byte_level, ids)
    assert labels == wanted(offsets, TEXT)
    assert 0 < labels.count(Label.PLANNING) < len(labels)


def test_every_split_of_a_text_into_single_bytes_is_followed(byte_level):
    """Byte by byte, as a policy may write: 3 tokens spell one character, and each of them is the character's."""
    from tokenizers import pre_tokenizers

    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("a漢🙂b")[0][0]
    ids = byte_level.convert_tokens_to_ids(list(letters))
    text, spans = character_offsets(byte_level, ids)
    assert text == "a漢🙂b"
    assert spans == [(0, 1), *[(1, 2)] * 3, *[(2, 3)] * 4, (3, 4)]


def test_broken_characters_and_special_tokens_move_nothing(byte_level):
    from tokenizers import pre_tokenizers

    half = list(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("漢")[0][0])[:2]
    end = byte_level.eos_token_id
    ids = [*byte_level("let ")["input_ids"], end, *byte_level("me check")["input_ids"]]
    ids += [*byte_level.convert_tokens_to_ids(half), *byte_level(" go")["input_ids"], end]
    text, spans = character_offsets(byte_level, ids)
    assert text == byte_level.decode(ids, skip_special_tokens=True) and "�" in text
    assert [
        end - start for (start, end), token in zip(spans, ids, strict=True) if token == byte_level.eos_token_id
    ] == [0, 0]
    labels = gram_labels(GRAMS, byte_level, ids)
    written = "".join(text[a:b] for (a, b), label in zip(spans, labels, strict=True) if label == Label.PLANNING)
    assert written.strip() == "let me check"


def test_a_tokenizer_of_whole_words_and_the_mask(byte_level):
    _, tokenizer = load("tiny")
    grams = StrategicGrams((("no try 4",),), (1,), 1)
    words = "try 7 + 4 = 11 no try 4 + 4 stop"
    ids = torch.tensor([tokenizer(words)["input_ids"]] * 2)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 7] = False  # a token that another wrote: the phrase is no longer what the policy said
    label = labeled_by_grams(grams)
    found = label(["", ""], ids, mask, tokenizer)
    planning = [word for word, hit in zip(words.split(), found[0] == Label.PLANNING, strict=True) if hit]
    assert planning == ["no", "try", "4"]
    assert (found[1] == Label.PLANNING).sum() == 0 and found[1, 7] == Label.OTHER
    assert (found[0] == Label.EXECUTION).sum() == ids.shape[1] - 3
    assert (label.planning, label.tokens) == (3, 2 * ids.shape[1] - 1)
    assert label.share == pytest.approx(3 / (2 * ids.shape[1] - 1))


def test_no_tokens_no_labels(byte_level):
    assert character_offsets(byte_level, []) == ("", [])
    empty = torch.zeros(2, 0, dtype=torch.long)
    assert labeled_by_grams(GRAMS)(["", ""], empty, empty.bool(), byte_level).shape == (2, 0)
