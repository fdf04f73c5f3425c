"""Ways to spend tokens at inference: each a file ``NAME.py`` that defines ``NAME(**settings) -> Decoder``."""

from forkpoint.decoders._confidence import bar, score_of, token_confidence
from forkpoint.decoders._decoder import Ask, Decode, Decoded, Decoder, Spent, Trace, build, decoder
from forkpoint.decoders._machine import Row
from forkpoint.decoders._next import ENGINE_TOP, Entropy, Next, Warp
from forkpoint.decoders._policy import Markers, Policy, load_policy, markers_of, policy_of
from forkpoint.decoders._stops import ColdStop, GroupMean, StepMean
from forkpoint.decoders._thinking import Thinks, thought

__all__ = [
    "ENGINE_TOP",
    "Ask",
    "ColdStop",
    "Decode",
    "Decoded",
    "Decoder",
    "Entropy",
    "GroupMean",
    "Markers",
    "Next",
    "Policy",
    "Row",
    "Spent",
    "StepMean",
    "Thinks",
    "Trace",
    "Warp",
    "bar",
    "build",
    "decoder",
    "load_policy",
    "markers_of",
    "policy_of",
    "score_of",
    "thought",
    "token_confidence",
]
