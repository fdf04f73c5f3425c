"""Ranks that are threads of one process: every exchange is a meeting, and what is sent is counted."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from forkpoint.batch import Ranks

TIMEOUT = 60.0
"""seconds until a rank that nobody joins gives up"""


class ThreadRanks(Ranks):
    def __init__(self, index, barrier, slots):
        self.index, self.barrier, self.slots = index, barrier, slots
        self.num_bytes = self.num_calls = 0

    def sum(self, values):
        return self._meet("sum", values).sum(0)

    def max(self, values):
        return self._meet("max", values).amax(0)

    def gather(self, values):
        return self._meet("gather", values)

    def _meet(self, call, values):
        self.num_bytes += values.numel() * values.element_size()
        self.num_calls += 1
        self.slots[self.index] = (call, values.clone())
        self.barrier.wait(TIMEOUT)
        met = list(self.slots)
        self.barrier.wait(TIMEOUT)  # nobody writes the next values before everybody has read these
        assert len({(call, part.shape, part.dtype) for call, part in met}) == 1, f"ranks disagree: {met}"
        return torch.stack([part for _, part in met])


def on_ranks(num_ranks, work):
    """``work(ranks)`` on each of ``num_ranks`` threads; their results in the order of ranks."""
    barrier, slots = threading.Barrier(num_ranks), [None] * num_ranks

    def one(index):
        try:
            return work(ThreadRanks(index, barrier, slots))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(num_ranks) as pool:
        futures = [pool.submit(one, index) for index in range(num_ranks)]
    failures = [future.exception() for future in futures if future.exception()]
    # the ranks that waited for the one that failed say only that it did not come
    for failure in sorted(failures, key=lambda failure: isinstance(failure, threading.BrokenBarrierError)):
        raise failure
    return [future.result() for future in futures]
