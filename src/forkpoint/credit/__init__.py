"""Who gets credit: the whole optimizer step in, advantages, weights and marks per token out. No gradient.

A file ``NAME.py`` defines ``NAME(**settings) -> CreditRule``. What depends on the whole step (a quantile, a covariance,
a draw) lives here and not in a loss, because a loss sees one micro-batch and would answer differently for every cut.
"""

from forkpoint.credit._rule import At as At
from forkpoint.credit._rule import CreditRule as CreditRule
from forkpoint.credit._rule import Key as Key
from forkpoint.credit._rule import declares as declares
from forkpoint.credit._rule import does_to_advantage as does_to_advantage
from forkpoint.credit._rule import is_row_local as is_row_local
from forkpoint.credit._rule import is_sharded as is_sharded
from forkpoint.credit._rule import per_micro_batch as per_micro_batch
from forkpoint.credit._rule import plans_at as plans_at
from forkpoint.credit._rule import run_rules as run_rules
