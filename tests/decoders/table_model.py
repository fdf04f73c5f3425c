"""A model that is a table: what it has read -> probabilities of the next token. Trees are worked by hand on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from forkpoint.decoders import Markers, Policy

Table = Callable[[tuple[int, ...]], Mapping[int, float]]
END, A, B, C, X, PROMPT = range(6)
WORDS = ("end", "a", "b", "c", "x", "?")


@dataclass
class Cache:
    ids: torch.Tensor
    seen: torch.Tensor

    def reorder_cache(self, rows: torch.Tensor) -> None:
        self.ids, self.seen = self.ids[rows], self.seen[rows]


class TableModel(torch.nn.Module):
    """Reads ids and keeps them as its cache; padding is what the mask hides."""

    device = torch.device("cpu")

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = table
        self.fed: list[int] = []
        """positions of every call after the first"""
        self.read: list[int] = []
        """positions without padding of every first call"""

    def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=True):
        cache, new = past_key_values, input_ids
        if cache is None:
            seen = torch.ones_like(new) if attention_mask is None else attention_mask
            cache = Cache(new, seen)
            self.read.append(int(seen.sum()))
        else:
            cache = Cache(torch.cat([cache.ids, new], 1), torch.cat([cache.seen, torch.ones_like(new)], 1))
            self.fed.append(new.numel())
        logits = torch.full((len(cache.ids), 1, len(WORDS)), -torch.inf)
        for row, (ids, seen) in enumerate(zip(cache.ids, cache.seen, strict=True)):
            for token, p in self.table(tuple(ids[seen.bool()].tolist())).items():
                logits[row, 0, token] = torch.tensor(p).log()
        return SimpleNamespace(logits=logits, past_key_values=cache)


class Words:
    """One token per word of ``WORDS``."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return " ".join(WORDS[i] for i in ids if i != END)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [WORDS.index(word) for word in text.split()]


def table_policy(table: Table, markers: Markers | None = None) -> Policy:
    return Policy(TableModel(table), Words(), len(WORDS), (END,), None, markers)


def fork_table(read: tuple[int, ...]) -> Mapping[int, float]:
    """``a``, then ``b`` or ``c``: after ``b`` the end, after ``c`` an ``x`` and the end."""
    done = read[read.index(PROMPT) + 1 :]
    return {(): {A: 1.0}, (A,): {B: 0.5, C: 0.5}, (A, C): {X: 1.0}}.get(done, {END: 1.0})


def random_table(ends: float = 0.1) -> Table:
    """Probabilities that depend on all that was read, and the end with probability ``ends``."""

    def table(read: tuple[int, ...]) -> Mapping[int, float]:
        draw = torch.Generator().manual_seed(hash(read) % 2**31)  # of ints: the same in every process
        p = torch.randn(4, generator=draw).mul(2).softmax(-1) * (1 - ends)
        found = dict(zip((A, B, C, X), p.tolist(), strict=True))
        return found | {END: ends} if ends else found

    return table
