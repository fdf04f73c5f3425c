"""The run on disk: one writer, many readers, no locks. Plain JSON and Parquet, readable without forkpoint.

    RUN/run.json                      what ran: config, method, seed, environment, what each number means
    RUN/metrics.jsonl                 one line per reading, appended
    RUN/rollouts/part-000000.parquet  completions, in parts that never change
    RUN/rollouts/tail.jsonl           completions since the last part
    RUN/manifest.json                 the parts that count, with their size and sha256
    RUN/status.json                   running, done, failed or stopped, and how much there was by then
    RUN/.lock                         held by the writer, while there is one
    RUN/damaged/                      what ``doctor --repair`` has set aside

A JSON record ends in a member ``crc``: the crc32 of the run's id and the text with that member cut out (in ``run.json``
of the text alone). Lines are numbered, ``n`` in the metrics and ``row`` in the tail. A Parquet part counts once the
manifest names it. All of it is checked on reading, so a damaged file is named instead of plotted.
"""

from forkpoint.record._error import AnotherConfig, RecordError
from forkpoint.record.read import Run, find_runs, open_run
from forkpoint.record.schema import ROLLOUT_SCHEMA
from forkpoint.record.write import RunWriter

__all__ = ["ROLLOUT_SCHEMA", "AnotherConfig", "RecordError", "Run", "RunWriter", "find_runs", "open_run"]
