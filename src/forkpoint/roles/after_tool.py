"""After a tool: the first tokens the policy writes when it has read a result (after arXiv:2507.19849).

That paper finds entropy jumping there, and branches its rollouts on the first 20 tokens at most. The count runs over
the policy's own tokens and begins anew with every result.
"""

from jaxtyping import Bool
from torch import Tensor

from forkpoint.batch import StepBatch
from forkpoint.roles._labeled import needed

READS = ("tool",)


def after_tool(step: StepBatch, num: int = 20) -> Bool[Tensor, "B T"]:
    """True at the first ``num`` tokens of ``step.mask`` after each run of tool tokens, shape (B, T).

    False before the first result. Raises ValueError where ``step.tool`` is not filled or ``num`` is below 1.

    >>> import torch
    >>> tool = torch.tensor([[False, True, True, False, False, False]])
    >>> step = StepBatch(torch.zeros(1, 6), torch.zeros(1, 6), ~tool, torch.ones(1), tool=tool)
    >>> after_tool(step, num=2)
    tensor([[False, False, False,  True,  True, False]])
    """
    if num < 1:
        raise ValueError(f"after_tool: num={num}; give a number of tokens from 1, such as 20")
    tool = needed(step, "tool", "after_tool")
    written = step.mask.long().cumsum(-1)
    # -1 before the first result; the count does not move while the tool writes
    at_result = written.masked_fill(~tool, -1).cummax(-1).values
    return step.mask & (at_result >= 0) & (written - at_result <= num)
