"""The papers' methods, each a sentence over credit rules and an objective.

A file ``NAME.py`` defines ``NAME(**settings) -> Method`` whose keyword defaults are the paper's.
"""

from forkpoint.methods._method import Method, build, method

__all__ = ["Method", "build", "method"]
