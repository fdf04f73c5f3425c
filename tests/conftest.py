"""Hypothesis profiles: small counts in ``make test``, large ones in ``make campaign``; neither is timed."""

import os

from hypothesis import HealthCheck, settings

# a run's libraries must not look for a network or a hub
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("test", max_examples=100, deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("campaign", max_examples=10_000, deadline=None, suppress_health_check=_SLOW)
settings.load_profile("test")


def counts(small: int, large: int) -> int:
    """How often to repeat: ``small`` in ``make test``, ``large`` in ``make campaign``."""
    return large if settings().max_examples >= 10_000 else small
