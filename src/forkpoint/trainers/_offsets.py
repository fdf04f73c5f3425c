"""Which characters of a completion each of its tokens wrote, by decoding the very tokens that were sampled.

Encoding the text again may cut it otherwise than the policy did.
"""

from collections.abc import Sequence
from typing import Any

CONTEXT = 8
"""tokens decoded before the one looked at: more than spell one character, so that both decodings of a window treat its
beginning alike"""


def character_offsets(tokenizer: Any, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """(text, (start, end) of each token in it); a special token, which writes nothing, has start = end.

    A character that several tokens spell, as byte-level tokenizers do with rare ones, belongs to each of them.
    """
    whole = _decode(tokenizer, ids)
    spans, settled = _spans(tokenizer, ids, CONTEXT)
    if settled != _settled(whole):  # a decoder that looks further back than the context
        spans, _ = _spans(tokenizer, ids, len(ids))
    return whole, spans


def _spans(tokenizer: Any, ids: Sequence[int], context: int) -> tuple[list[tuple[int, int]], int]:
    """The spans, and how many characters are settled after all tokens."""
    silent, spans, stood = set(tokenizer.all_special_ids), [], 0
    for i, token in enumerate(ids):
        window = ids[max(0, i - context) : i + 1]
        before, after = _decode(tokenizer, window[:-1]), _decode(tokenizer, window)
        stands = stood + max(0, _settled(after) - _settled(before))
        # a part of a character is of the character that a later token completes
        spans.append((stood, stands + (1 if _settled(after) < len(after) and token not in silent else 0)))
        stood = stands
    return spans, stood


def _settled(text: str) -> int:
    """Characters that no further token can change: a decoder writes U+FFFD for bytes that are not yet a character."""
    return len(text.rstrip("�"))


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
