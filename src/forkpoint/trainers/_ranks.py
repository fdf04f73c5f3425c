"""The processes of torch.distributed as the ``Ranks`` that a step is spread over.

Every exchange is small (see ``Ranks``), so its cost is its latency. Works with gloo, which takes tensors of the CPU,
and with NCCL, which takes those of the process's own GPU.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float64, Int
from torch import Tensor

from forkpoint.batch import Ranks


def ranks_of(accelerator: Any) -> Ranks | None:
    """All processes of an accelerate ``Accelerator``; None where there is only one."""
    return ProcessRanks(accelerator.device) if accelerator.num_processes > 1 else None


class ProcessRanks:
    """All processes of the default group; tensors travel on ``device`` and come back to where they were."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device, self.index = torch.device(device), dist.get_rank()

    def sum(self, values: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        return self._reduce(values, dist.ReduceOp.SUM)

    def max(self, values: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        return self._reduce(values, dist.ReduceOp.MAX)

    def gather(self, values: Float64[Tensor, " n"]) -> Float64[Tensor, "num_ranks n"]:
        mine = values.to(self.device).contiguous()
        parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, mine)
        return torch.stack(parts).to(values.device)

    def _reduce(self, values: Int[Tensor, " n"], operation: Any) -> Int[Tensor, " n"]:
        # a copy: all_reduce writes in place
        summed = values.to(self.device, copy=True)
        dist.all_reduce(summed, operation)
        return summed.to(values.device)
