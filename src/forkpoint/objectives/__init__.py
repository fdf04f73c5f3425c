"""Rows in, per-token loss out: the part of a method that carries the gradient.

A file ``NAME.py`` defines ``NAME(**settings) -> Objective``. An objective looks at one row at a time, so a step may be
cut into micro-batches anywhere; it is not reduced here, because the denominator belongs to whoever sees the whole step.
"""

from forkpoint.objectives._steps import Objective, Terms, Transform, chain

__all__ = ["Objective", "Terms", "Transform", "chain"]
