"""forkpoint: measure, forecast and control the policy entropy of reasoning models."""

__version__ = "0.1.0"
