"""Verdicts in bounded time and memory: scorers that parse or run model text do it in processes that can be killed."""

from forkpoint.verify._limits import Limits as Limits
from forkpoint.verify._score import score as score
from forkpoint.verify._verdict import Verdict as Verdict
from forkpoint.verify.pool import Pool as Pool
from forkpoint.verify.pool import PoolError as PoolError
