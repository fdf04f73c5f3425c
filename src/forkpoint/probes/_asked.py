"""What samples are drawn: the settings that decide every one of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """k completions of each of the first problems of a task's test split. ValueError, in one line, for what is none.

    >>> Asked("tiny", "countdown", k=0)
    Traceback (most recent call last):
    ValueError: --k 0: give 1 or more
    """

    model: str
    task: str
    problems: int = 64
    k: int = 64
    seed: int = 0
    temperature: float = 1.0
    max_tokens: int = 56
    crossed: int = 8
    """problems, spread over all, whose first completions are scored under each other's prompts; 0 leaves it out"""
    chat: bool = False
    """whether prompts go through the tokenizer's chat template"""

    def __post_init__(self) -> None:
        for name, least in (("problems", 1), ("k", 1), ("max_tokens", 1), ("crossed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: give {least} or more")
        # beyond, logits over the temperature overflow float32
        if not 1e-6 <= self.temperature <= 1e6:
            raise ValueError(f"--temperature {self.temperature}: give a number from 1e-06 to 1e+06; 1 is as trained")
