"""A tabular policy, one softmax per state, where the quantities of the theory are exact (arXiv:2505.22617)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from forkpoint.batch import StepBatch
from forkpoint.labels import Label
from forkpoint.methods import Method
from forkpoint.studies._fixed_step import SMALL, Change, filled_step, followed, gradient, of_length, token_entropies


class Tabular(NamedTuple):
    """One softmax per state; a row of the batch passes through every state once, in order."""

    logits: Float[Tensor, "S A"]
    """of the policy in training, some way off the one that sampled"""
    logits_old: Float[Tensor, "S A"]
    actions: Int[Tensor, "B S"]
    reward: Float[Tensor, " B"]
    label: Int[Tensor, " S"]
    """two forks and then states where one action is nearly certain, as on the mechanical steps of a solution"""

    def followed(self, method: Method) -> dict[str, float]:
        """Setting -> its value on this batch, of each that follows the batch's effective ranks."""
        return followed(method, self.step(self.logits))

    def step(self, logits: Float[Tensor, "S A"]) -> StepBatch:
        """The batch under ``logits``; log-probs and entropies carry its gradient."""
        logp, old = logits.log_softmax(-1), self.logits_old.log_softmax(-1)
        entropy = token_entropies(logits).expand(len(self.actions), -1)
        reference = token_entropies(self.logits_old).expand(len(self.actions), -1)
        mask = torch.ones_like(self.actions, dtype=torch.bool)
        return filled_step(
            _taken(logp, self.actions),
            _taken(old, self.actions),
            mask,
            self.reward,
            size=8,
            entropy=entropy,
            token_ids=self.actions,
            label=self.label.expand(len(self.actions), -1),
            entropy_reference=reference,
            rank=_ranks(len(self.actions), logits.dtype),
        )


def tabular(seed: int, *, groups: int = 16, num_actions: int = 6, moved: float = 0.3) -> Tabular:
    """A batch of ``groups`` x 8 rows over eight states; an answer is right if its two forks fit the prompt's number.

    ``moved`` is the deviation of the logits from those that sampled, as after some updates on the same rollout.
    """
    draw = torch.Generator().manual_seed(seed)
    label = torch.tensor(
        [Label.FORMAT, Label.FORK, Label.EXECUTION, Label.PLANNING, Label.FORK] + [Label.EXECUTION] * 3
    )
    sure = torch.where(label == Label.EXECUTION, 6.0, 0.0).unsqueeze(1) * torch.eye(num_actions)[0]
    old = (sure + torch.randn(len(label), num_actions, generator=draw)).double()
    actions = torch.multinomial(old.softmax(-1), groups * 8, replacement=True, generator=draw).T
    prompt = torch.arange(groups * 8) // 8 % num_actions
    right = (actions[:, 1] != prompt) & ((actions[:, 1] + actions[:, 4] + prompt) % 3 == 0)
    now = old + moved * torch.randn(old.shape, generator=draw).double()
    return Tabular(now, old, actions, right.double(), label)


def _taken(logp: Float[Tensor, "S A"], actions: Int[Tensor, "B S"]) -> Float[Tensor, "B S"]:
    return logp[torch.arange(logp.shape[0]), actions]


def _ranks(rows: int, dtype: torch.dtype) -> Float[Tensor, "B 6"]:
    """No hidden states here: ranks that differ from row to row stand in, so that rules that read them run."""
    spread = torch.linspace(4, 8, rows, dtype=dtype)
    return torch.stack([spread, spread / 10, spread / 100, spread + 2, spread / 10, spread / 100], dim=1)


def first_order(logits: Float[Tensor, "S A"], step: Float[Tensor, "S A"]) -> Float[Tensor, " S"]:
    """-Cov_{a ~ pi}(log pi, dz) of each state: how its entropy changes to first order, in nats.

    >>> z, value = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).double(), torch.tensor([[1.0, 0.0, 0.0, 1.0]]).double()
    >>> advantage = value - (z.softmax(-1) * value).sum()
    >>> first_order(z, 0.1 * advantage)                         # natural gradient: dz = eta A
    tensor([-0.0247], dtype=torch.float64)
    """
    p, logp = logits.softmax(-1), logits.log_softmax(-1)
    centered = step - (p * step).sum(-1, keepdim=True)
    return -(p * (logp - (p * logp).sum(-1, keepdim=True)) * centered).sum(-1)


def natural(logits: Float[Tensor, "S A"], grad: Float[Tensor, "S A"]) -> Float[Tensor, "S A"]:
    """F^+ grad with F = diag(p) - p p^T of each state: the same step whatever the policy's scale."""
    p = logits.softmax(-1)
    fisher = torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)
    return (torch.linalg.pinv(fisher, hermitian=True) @ grad.unsqueeze(-1)).squeeze(-1)


def tabular_changes(method: Method, table: Tabular, *, length: float = SMALL) -> dict[str, Change]:
    """ "plain" and "natural" -> change of the states' mean entropy under a step of ``length`` in the logits."""
    logits = table.logits.clone().requires_grad_()
    grad = gradient(method, table.step(logits), [logits])[0]
    found = {}
    with torch.no_grad():
        for name, direction in {"plain": grad, "natural": natural(table.logits, grad)}.items():
            step = -of_length(direction, length)
            measured = token_entropies(table.logits + step) - token_entropies(table.logits)
            found[name] = Change(float(first_order(table.logits, step).mean()), float(measured.mean()))
    return found


def worked_check() -> list[dict[str, float | str]]:
    """The numbers of one softmax over four actions: exact change, its forecast, and their quotient less one.

    z = (2, 1, 0, -1), Q = (1, 0, 0, 1), A = Q - E[Q]; dz = eta p A (plain policy gradient) or eta A (natural).

    >>> [f"{row['exact']:.10f}" for row in worked_check()]
    ['-0.0094644690', '-0.0000936911', '-0.0252997797', '-0.0002468432']
    """
    z, value = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).double(), torch.tensor([[1.0, 0.0, 0.0, 1.0]]).double()
    p = z.softmax(-1)
    advantage = value - (p * value).sum()
    told: list[dict[str, float | str]] = []
    for name, direction in {"plain": p * advantage, "natural": advantage}.items():
        for eta in (0.1, 0.001):
            exact = float(token_entropies(z + eta * direction) - token_entropies(z))
            predicted = float(first_order(z, eta * direction))
            row = {"step": name, "eta": eta, "exact": exact, "predicted": predicted, "error": exact / predicted - 1}
            told.append(row)
    return told
