"""Clipping moves entropy even where there is nothing to learn: random rewards, with and without (arXiv:2509.26114).

The advantage of every token is a fair coin, +1 or -1. Without a clip the updates are noise around zero; the lower bound
alone (tokens with A < 0) is said to raise entropy, the upper bound alone (A > 0) to lower it, and with 0.2 on both
sides the upper one to win, so that entropy falls. A null test of anything that measures entropy, too.

    python -m forkpoint.studies.random_rewards --seeds 20 --write

Tabular softmax, every action drawn from the policy, several plain gradient steps on each rollout. Noise alone lowers
entropy (a random walk of the logits leaves the middle), so each bound is also compared with no bound on the same draws.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from forkpoint.batch import StepBatch
from forkpoint.methods import build
from forkpoint.studies._fixed_step import token_entropies
from forkpoint.studies._paired import paired

FAR = 1e6
"""a bound that no ratio reaches"""
ARMS = {
    "no clip": (1.0, FAR),
    "0.2 on both sides": (0.2, 0.2),
    "lower bound 0.2 alone": (0.2, FAR),
    "upper bound 0.2 alone": (1.0, 0.2),
}
RATES = (0.5, 2.0, 4.0)
PAGE = Path("docs/studies/random-rewards.md")


def random_rewards(
    seeds: int = 20,
    *,
    rollouts: int = 40,
    updates: int = 8,
    learning_rate: float = 2.0,
    tokens: int = 256,
    num_actions: int = 8,
    states: int = 4,
) -> dict[str, Float[Tensor, " seeds"]]:
    """Arm -> change of mean entropy of each seed, in nats, from a policy drawn at random.

    Each of ``rollouts`` draws ``tokens`` actions in each state and makes ``updates`` steps on them. All seeds run side
    by side, as states of one table: tabular states do not touch each other.
    """
    found = {}
    for name, (low, high) in ARMS.items():
        method = build("grpo", clip_low=low, clip_high=high)
        draw = torch.Generator().manual_seed(0)
        logits = torch.randn(seeds * states, num_actions, generator=draw).double()
        before = token_entropies(logits)
        for _ in range(rollouts):
            # uniform numbers first, so that every arm meets the same ones whatever its policy
            uniform = torch.rand(len(logits), tokens, generator=draw).double()
            actions = torch.searchsorted(logits.softmax(-1).cumsum(-1), uniform).clamp(max=num_actions - 1)
            coin = torch.randint(0, 2, actions.shape, generator=draw).double() * 2 - 1
            old = logits.log_softmax(-1).gather(-1, actions)
            for _ in range(updates):
                leaf = logits.clone().requires_grad_()
                logp = leaf.log_softmax(-1).gather(-1, actions)
                # a row per token: its advantage is its own
                mask = torch.ones(coin.numel(), 1, dtype=torch.bool)
                step = StepBatch(logp.reshape(-1, 1), old.reshape(-1, 1), mask, coin.view(-1))
                # the loss is a mean over all states' tokens; each state's own is wanted
                (grad,) = torch.autograd.grad(method.step_loss(step) * len(logits), leaf)
                logits = logits - learning_rate * grad
        found[name] = (token_entropies(logits) - before).view(seeds, states).mean(1)
    return found


def table(found: dict[str, Float[Tensor, " seeds"]]) -> str:
    """Markdown: the change of each arm, and its difference to no clip on the same draws."""
    plain = found["no clip"].numpy()
    told = ["| clip | change of entropy, nats | less that without a clip |", "|---|---|---|"]
    for name, change in found.items():
        own = paired(change.numpy(), 0 * plain)
        beside = paired(change.numpy(), plain)
        cells = [f"{one.mean:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in (own, beside)]
        told.append(f"| {name} | {cells[0]} | {'' if name == 'no clip' else cells[1]} |")
    return "\n".join(told)


def reading(found: dict[str, Float[Tensor, " seeds"]]) -> str:
    """Which of the four claims the intervals bear out."""
    own = {name: paired(change.numpy(), 0 * change.numpy()) for name, change in found.items()}
    beside = {name: paired(change.numpy(), found["no clip"].numpy()) for name, change in found.items()}
    claims = {
        "the lower bound alone raises entropy, beside no clip": beside["lower bound 0.2 alone"].low > 0,
        "the upper bound alone lowers it, beside no clip": beside["upper bound 0.2 alone"].high < 0,
        "with 0.2 on both sides entropy falls": own["0.2 on both sides"].high < 0,
        "it falls faster than without a clip": beside["0.2 on both sides"].high < 0,
    }
    return "\n".join(f"* {claim}: {'borne out' if so else 'not borne out'}" for claim, so in claims.items())


if __name__ == "__main__":
    import tyro

    def main(seeds: int = 20, updates: int = 8, write: bool = False) -> None:
        """Print the tables; with ``write`` also docs/studies/random-rewards.md."""
        told = [f"# Random rewards\n\n{(__doc__ or '').strip()}"]
        for rate in RATES:
            about = f"Learning rate {rate:g}, {updates} updates per rollout, {seeds} seeds, 95 % bootstrap intervals:"
            found = random_rewards(seeds, updates=updates, learning_rate=rate)
            told += [about, table(found), reading(found)]
        page = "\n\n".join(told) + "\n"
        print(page)
        if write:
            PAGE.parent.mkdir(parents=True, exist_ok=True)
            PAGE.write_text(page, encoding="utf-8")

    tyro.cli(main)
