"""Prompts as a model that was taught to chat expects them: by its tokenizer's chat template, as one user's turn."""

from collections.abc import Sequence
from typing import Any


class Chatting:
    """A tokenizer that puts every prompt through its chat template, and is the same in all else.

    Raises ValueError, naming ``model``, where the tokenizer has none.
    """

    def __init__(self, tokenizer: Any, model: str) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError(f"model {model!r}: its tokenizer has no chat template; leave --chat out")
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, prompts: Sequence[str], **settings: Any) -> Any:
        turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
        texts = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        # the template has written its special tokens already
        return self._tokenizer(texts, add_special_tokens=False, **settings)
