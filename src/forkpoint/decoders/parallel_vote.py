"""Parallel thinking: as many samples as the budget pays for, and the answer that most of them give.

    paths  completions of at most ``max_tokens`` each, until the budget is spent;  answer  plurality (arXiv:2203.11171)

Paths come in waves, so that the budget holds whatever their lengths turn out to be (``_waves``); the last one may be
cut short. ``NAME+parallel_vote`` is the same over the completions of another decoder.

At 16 thousand tokens one source gives parallel 92, "Wait" 70 and exact length 45 on GSM8K (arXiv:2506.04210, read off a
figure).
"""

from dataclasses import replace
from types import MappingProxyType

from forkpoint.decoders._decoder import Decode, Decoded, Decoder, decoder
from forkpoint.decoders._machine import Machine
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._vote import voted
from forkpoint.decoders._waves import at_most, waves
from forkpoint.decoders.sample import Sample


@decoder
def parallel_vote(
    *,
    max_tokens: int = 1024,
    max_paths: int = 512,
    temperature: float = 0.6,
    top_k: int = 0,
    top_p: float = 0.95,
    min_p: float = 0.0,
    entropy: Entropy = "raw",
) -> Decoder:
    """The plurality of samples. max_tokens >= 1 of one path, max_paths >= 1 of a problem."""
    machine = Sample(Warp(temperature, top_k, top_p, min_p), entropy)
    return _votes(machine, max_tokens, max_paths, thinks=False)


def votes_of(inner: Decoder, *, max_tokens: int = 1024, max_paths: int = 512) -> Decoder:
    """The plurality of another decoder's completions: ``build("entropy_stop+parallel_vote", ...)`` makes one.

    Raises ValueError where a completion of ``inner`` is not of one row, as a tree's is not.
    """
    name = f"{inner.name}+parallel_vote"
    if inner.machine is None:
        raise ValueError(f"{name}: {inner.name} gives no single completions; take one that does, such as sample")
    made = _votes(inner.machine, max_tokens, max_paths, thinks=inner.thinks)
    settings = {**inner.settings, "max_tokens": max_tokens, "max_paths": max_paths}
    return replace(made, name=name, settings=MappingProxyType(settings))


def _votes(machine: Machine, max_tokens: int, max_paths: int, *, thinks: bool) -> Decoder:
    if max_tokens < 1 or max_paths < 1:
        raise ValueError(f"max_tokens={max_tokens}, max_paths={max_paths}: both are counts, at least 1")

    def run(asked: Decode) -> list[Decoded]:
        found = waves(asked, machine, max_tokens, at_most(max_paths))
        return [voted(ask, traces) for ask, traces in zip(asked.asks, found, strict=True)]

    return Decoder(run, machine.reads, thinks)
