"""Steps for the laws of credit rules, objectives and methods."""

from dataclasses import replace

import torch

from forkpoint.batch import StepBatch

TRAPS = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e30, -1e30])


def random_step(seed, num_rows=5, num_tokens=7, on_policy=False):
    """A float32 step: rows of unequal length with holes, ratios far enough off to clip, advantages of both signs."""
    draw = torch.Generator().manual_seed(seed)
    shape = (num_rows, num_tokens)
    logp_old = -3 * torch.rand(shape, generator=draw)
    log_ratio = torch.zeros(shape) if on_policy else 0.5 * torch.randn(shape, generator=draw)
    lengths = torch.randint(2, num_tokens + 1, (num_rows, 1), generator=draw)
    mask = (torch.arange(num_tokens) < lengths) & (torch.rand(shape, generator=draw) > 0.1)
    return StepBatch(
        logp=logp_old + log_ratio,
        logp_old=logp_old,
        mask=mask,
        advantage=2 * torch.randn(num_rows, generator=draw),
        entropy=2 * torch.rand(shape, generator=draw),
        row_id=100 + torch.randperm(max(50, num_rows), generator=draw)[:num_rows],
    )


def poisoned(step):
    """The same step with nan, inf and huge numbers wherever the mask says no."""
    traps = TRAPS[torch.arange(step.mask.numel()).remainder(len(TRAPS))].view_as(step.logp)
    hidden = {name: getattr(step, name) for name in ("logp", "logp_old", "entropy")}
    return replace(step, **{name: torch.where(step.mask, value, traps) for name, value in hidden.items()})


def padded(step, num_rows=1, num_tokens=3):
    """The same step with masked columns and rows added; an added row still has an advantage."""
    return StepBatch(
        logp=_grown(step.logp, num_rows, num_tokens),
        logp_old=_grown(step.logp_old, num_rows, num_tokens),
        mask=_grown(step.mask, num_rows, num_tokens),
        advantage=torch.cat([step.advantage, torch.full((num_rows,), 9.0)]),
        entropy=_grown(step.entropy, num_rows, num_tokens),
        row_id=torch.cat([step.identity, torch.arange(num_rows)]),
    )


def differentiable(step):
    """A copy whose log-probs and entropies collect gradients."""
    return replace(step, logp=step.logp.clone().requires_grad_(), entropy=step.entropy.clone().requires_grad_())


def _grown(values, num_rows, num_tokens):
    return torch.nn.functional.pad(values, (0, num_tokens, 0, num_rows))
