"""Who gets credit: the whole optimizer step in, advantages, weights and marks per token out. No gradient.

A file ``NAME.py`` defines ``NAME(**settings) -> CreditRule``. What depends on the whole step (a quantile, a covariance,
a draw) lives here and not in a loss, because a loss sees one micro-batch and would answer differently for every cut.
"""

from forkpoint.credit._rule import At, CreditRule, Key, declares, is_sharded, per_micro_batch, plans_at

__all__ = ["At", "CreditRule", "Key", "declares", "is_sharded", "per_micro_batch", "plans_at"]
