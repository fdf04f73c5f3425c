"""Ways to spend tokens at inference: each a file ``NAME.py`` that defines ``NAME(**settings) -> Decoder``."""

from forkpoint.decoders._decoder import Ask, Decoded, Decoder, Spent, Trace, build, decoder
from forkpoint.decoders._policy import Markers, Policy, load_policy, policy_of

__all__ = [
    "Ask",
    "Decoded",
    "Decoder",
    "Markers",
    "Policy",
    "Spent",
    "Trace",
    "build",
    "decoder",
    "load_policy",
    "policy_of",
]
