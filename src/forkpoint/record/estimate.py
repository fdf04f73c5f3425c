"""How much disk a run's record will take, before it is written."""

from collections.abc import Collection

from forkpoint.record.schema import PER_TOKEN

TOKEN_BYTES = {
    "tokens": 0.9,
    "token_ids": 0.9,
    "logp_sampler": 2.5,
    "logp_trainer": 2.3,
    "entropy": 2.7,
    "label": 0.2,
    "weight": 0.1,
    "mark": 0.1,
}
"""of one token in a Parquet part, after compression"""
TEXT_BYTES = 1.0
"""of one token's share of prompt and completion as text"""
ROW_BYTES = 30
"""of a completion's columns that are no text and not per token"""
PART_BYTES = 10_000
"""of an almost empty part: its schema, statistics and page headers"""
HEADER_BYTES = 20_000
LINE_BYTES, VALUE_BYTES = 70, 38
"""of a line in the metrics, and of each value in it"""


def estimate_bytes(
    steps: int,
    *,
    rows: int | float,
    tokens: int | float,
    readings: int | float = 50,
    part_every: int = 20,
    columns: Collection[str] = PER_TOKEN,
    text: bool = True,
) -> int:
    """Bytes of a run's folder, checkpoints aside:

    header + steps (70 + 38 readings) + steps/part_every * 10,000 + steps rows (30 + tokens (text + columns)).

    steps       optimizer steps
    rows        completions recorded per step, evaluations included, on average
    tokens      per completion, on average
    readings    values in a line of the metrics, on average
    part_every  as in ``RunWriter``
    columns     which of the columns per token are recorded
    text        whether prompt and completion are recorded as text

    The constants are of runs of the shipped policy, where the estimate is right within 30 percent. A large vocabulary
    has more different tokens and numbers, which compress less: up to twice as many bytes per token.

    >>> estimate_bytes(160, rows=9, tokens=32) // 1000
    951
    """
    per_token = sum(TOKEN_BYTES[name] for name in columns) + TEXT_BYTES * text
    completions = steps * rows * (ROW_BYTES + tokens * per_token)
    lines = steps * (LINE_BYTES + VALUE_BYTES * readings)
    parts = -(-steps // part_every) * PART_BYTES if rows else 0
    return round(HEADER_BYTES + lines + parts + completions)
