"""Steps for the laws of credit rules, objectives and methods."""

from dataclasses import replace

import torch

from forkpoint.batch import Plan, StepBatch
from forkpoint.credit._rule import touched

PER_TOKEN = ("logp", "logp_old", "entropy", "entropy_reference")
OTHER_TOKENS = ("mask", "label", "tool")
TRAPS = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e30, -1e30])


def random_step(seed, num_rows=5, num_tokens=7, on_policy=False):
    """A float32 step: rows of unequal length with holes, ratios far enough off to clip, advantages of both signs.

    Every optional field is filled. The groups have four members each, of which a row need not bring the others along.
    """
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
        **_more(shape, draw),
    )


def _more(shape, draw):
    """What only some methods read."""
    num_rows = shape[0]
    group_reward = torch.randint(0, 2, (num_rows, 4), generator=draw).float()
    length = 5 + 20 * torch.rand((num_rows, 1), generator=draw)
    return {
        "label": torch.randint(0, 5, shape, generator=draw),
        "group": torch.randint(0, 3, (num_rows,), generator=draw),
        "group_reward": group_reward,
        "reward": group_reward[:, 0].clone(),
        "group_logp": -2 * torch.rand((num_rows, 4), generator=draw),
        "tool": torch.zeros(shape, dtype=torch.bool),
        "entropy_reference": 2 * torch.rand(shape, generator=draw),
        "rank": torch.cat([length, torch.randn((num_rows, 2), generator=draw), length + 3, length, length], dim=1),
        "shifted": torch.rand(num_rows, generator=draw) < 0.3,
    }


def poisoned(step):
    """The same step with nan, inf and huge numbers wherever the mask says no."""
    traps = TRAPS[torch.arange(step.mask.numel()).remainder(len(TRAPS))].view_as(step.logp)
    hidden = {name: getattr(step, name) for name in PER_TOKEN}
    return replace(step, **{name: torch.where(step.mask, value, traps) for name, value in hidden.items()})


def padded(step, num_rows=1, num_tokens=3):
    """The same step with masked columns and rows added; an added row still has an advantage."""
    per_token = {name: _grown(getattr(step, name), num_rows, num_tokens) for name in (*PER_TOKEN, *OTHER_TOKENS)}
    per_row = {
        name: torch.cat([getattr(step, name), getattr(step, name)[:1].expand(num_rows, *getattr(step, name).shape[1:])])
        for name in ("group", "group_reward", "reward", "group_logp", "rank", "shifted")
    }
    return StepBatch(
        advantage=torch.cat([step.advantage, torch.full((num_rows,), 9.0)]),
        row_id=torch.cat([step.identity, torch.arange(num_rows)]),
        **per_token,
        **per_row,
    )


def unpacked(step, places):
    """The same step with token t of each row moved to column ``places[row, t]``, the columns between them masked."""
    wide = torch.zeros(len(places), int(places.max()) + 1)
    return replace(
        step,
        **{
            name: wide.to(getattr(step, name).dtype).scatter(1, places, getattr(step, name))
            for name in (*PER_TOKEN, *OTHER_TOKENS)
        },
    )


def without_tokens(shape):
    """A step of (rows, tokens), either of which may be 0, whose tokens are all masked; every field is filled."""
    num_rows, num_tokens = shape
    step = small_step(0, max(num_rows, 1), num_tokens).rows(slice(0, num_rows))
    return replace(step, mask=torch.zeros(shape, dtype=torch.bool))


def small_step(seed, num_rows, num_tokens):
    """A random step of any width, 0 and 1 too."""
    step = random_step(seed, num_rows, num_tokens + 2)
    return replace(step, **{name: getattr(step, name)[:, :num_tokens] for name in (*PER_TOKEN, *OTHER_TOKENS)})


def selected(step, plan):
    """The tokens that a plan marks, removes, re-weights or gives another advantage than their row's."""
    return step.mask & touched(Plan.neutral(step), plan)


def differentiable(step):
    """A copy whose log-probs and entropies collect gradients."""
    return replace(step, logp=step.logp.clone().requires_grad_(), entropy=step.entropy.clone().requires_grad_())


def _grown(values, num_rows, num_tokens):
    return torch.nn.functional.pad(values, (0, num_tokens, 0, num_rows))
