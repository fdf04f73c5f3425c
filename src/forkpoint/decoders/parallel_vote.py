"""Parallel thinking: as many samples as the budget pays for, and the answer that most of them give.

    paths  completions of at most ``max_tokens`` each, until the budget is spent;  answer  plurality (arXiv:2203.11171)

Waves of as many whole completions as what is left could pay for at full length, so that the budget holds whatever
their lengths turn out to be; what they leave pays for the next wave, whose prompt is read again and counted. The last
one may be cut short.

At 16 thousand tokens one source gives parallel 92, "Wait" 70 and exact length 45 on GSM8K (arXiv:2506.04210, read off a
figure).
"""

from forkpoint.decoders._decoder import Decode, Decoded, Decoder, Trace, decoder
from forkpoint.decoders._machine import Machine, Row, complete
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._vote import voted
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
    if max_tokens < 1 or max_paths < 1:
        raise ValueError(f"max_tokens={max_tokens}, max_paths={max_paths}: both are counts, at least 1")
    machine = Sample(Warp(temperature, top_k, top_p, min_p), entropy)

    def run(asked: Decode) -> list[Decoded]:
        found = waves(asked, machine, max_tokens, max_paths)
        return [voted(ask, traces) for ask, traces in zip(asked.asks, found, strict=True)]

    return Decoder(run, entropy)


def waves(asked: Decode, machine: Machine, max_tokens: int, max_paths: int) -> list[list[Trace]]:
    """The paths of every problem, in the order of their samples."""
    found: list[list[Trace]] = [[] for _ in asked.asks]
    left = [asked.budget - len(ask.prompt) for ask in asked.asks]
    while True:
        wave: list[tuple[int, Row]] = []
        for i, ask in enumerate(asked.asks):
            begun = len(found[i])
            again = len(ask.prompt) if begun else 0
            paid, room = affordable(left[i] - again, max_tokens), max_paths - begun
            wave += [
                (i, Row(ask, begun + j, limit, reread=bool(begun) and j == 0)) for j, limit in enumerate(paid[:room])
            ]
        if not wave:
            return found
        for (i, _), trace in zip(wave, complete(asked, machine, [row for _, row in wave]), strict=True):
            found[i].append(trace)
            left[i] -= trace.generated + trace.reread


def affordable(left: int, max_tokens: int) -> list[int]:
    """Limits of the completions that ``left`` tokens surely pay for: whole ones, or one cut short.

    >>> affordable(25, 10), affordable(7, 10), affordable(0, 10)
    ([10, 10], [7], [])
    """
    if left <= 0:
        return []
    return [max_tokens] * (left // max_tokens) or [left]
