"""The tiny policy beside one batch of its own answers: what a step of each method does to entropy, by role."""

from itertools import islice
from typing import Any

import torch
from torch import Tensor

from forkpoint.batch import StepBatch
from forkpoint.labels import Label
from forkpoint.methods import Method, build
from forkpoint.metrics._prefix_rank import rank_statistics
from forkpoint.policies import TINY, load
from forkpoint.policies.sample import sample
from forkpoint.recipes.demo import DEMO
from forkpoint.recipes.train import quiet_libraries
from forkpoint.studies._fixed_step import (
    Change,
    filled_step,
    followed,
    followers,
    gradient,
    of_length,
    token_entropies,
)
from forkpoint.tasks.countdown import countdown
from forkpoint.trainers._evaluation import label_tokens
from forkpoint.verify import score

ROLES = {"all": None, "fork": Label.FORK, "execution": Label.EXECUTION, "planning": Label.PLANNING}


class Network:
    """The tiny policy in float64 beside one batch of its own answers, one update after it wrote them."""

    def __init__(self, seed: int, *, prompts: int = DEMO.prompts_per_step) -> None:
        quiet_libraries()
        model, tokenizer = load(TINY)
        self.model = model.double().eval()
        self.rows = _answers(self.model, tokenizer, seed, prompts)
        self.ranks: dict[int, Tensor] = {}
        with torch.no_grad():
            self.logp_old, self.reference = (part.detach() for part in self._forward())
        self._one_update()
        self.leaves = [leaf for leaf in self.model.parameters() if leaf.requires_grad]
        self.at_rest = [leaf.detach().clone() for leaf in self.leaves]
        _, entropy = self._forward()
        # of every role once; all methods are measured on the same positions
        self.slopes = {role: self._slope(entropy, role) for role in ROLES}
        self.before = self._entropies(None)

    def changes(self, method: Method, *lengths: float) -> list[dict[str, Change]]:
        """For each length, role -> change of its mean entropy under a gradient step of that length."""
        grad = gradient(method, self._step(method), self.leaves)
        whole = torch.cat([part.flatten() for part in grad])
        return [self._change(-of_length(whole, length)) for length in lengths]

    def followed(self, method: Method) -> dict[str, float]:
        """Setting -> its value on this batch, of each that follows the batch's effective ranks."""
        return followed(method, self._step(method)) if followers(method) else {}

    def _change(self, step: Tensor) -> dict[str, Change]:
        after = self._entropies(step)
        return {
            role: Change(float(slope @ step), after[role] - self.before[role]) for role, slope in self.slopes.items()
        }

    def _step(self, method: Method) -> StepBatch:
        logp, entropy = self._forward()
        rows = self.rows
        about = {"entropy": entropy, "token_ids": rows["ids"], "label": rows["label"]}
        about |= {"entropy_reference": self.reference, "rank": self._rank(method.rank_stride)}
        return filled_step(logp, self.logp_old, rows["mask"], rows["reward"], size=DEMO.samples_per_prompt, **about)

    def _rank(self, stride: int) -> Tensor:
        """``StepBatch.rank`` of the answers, of prefixes ``stride`` tokens apart."""
        if stride not in self.ranks:
            self.ranks[stride] = rank_statistics(self.rows["states"], self.rows["mask"], stride=stride).double()
        return self.ranks[stride]

    def _forward(self) -> tuple[Tensor, Tensor]:
        """(log-probs, entropies), 0 where masked."""
        rows, start = self.rows, self.rows["prompt"].shape[1]
        ids = torch.cat([rows["prompt"], rows["ids"]], dim=1)
        attention = torch.cat([rows["prompt_mask"], rows["mask"].long()], dim=1)
        logits = self.model(input_ids=ids, attention_mask=attention).logits[:, start - 1 : -1]
        logp = logits.log_softmax(-1).gather(-1, rows["ids"].unsqueeze(-1)).squeeze(-1)
        return torch.where(rows["mask"], logp, 0.0), torch.where(rows["mask"], token_entropies(logits), 0.0)

    def _one_update(self) -> None:
        """As in the demo: the second update on a rollout is the first that is off-policy."""
        self.leaves = list(self.model.parameters())
        optimizer = torch.optim.AdamW(self.leaves, DEMO.learning_rate, weight_decay=0.0)
        grpo = build("grpo")
        grpo.step_loss(self._step(grpo)).backward()
        torch.nn.utils.clip_grad_norm_(self.leaves, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def _mask(self, role: str) -> Tensor:
        label = ROLES[role]
        return self.rows["mask"] if label is None else self.rows["mask"] & (self.rows["label"] == label)

    def _slope(self, entropy: Tensor, role: str) -> Tensor:
        chosen = self._mask(role)
        mean = torch.where(chosen, entropy, 0.0).sum() / chosen.sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(mean, self.leaves, retain_graph=True)])

    @torch.no_grad()
    def _entropies(self, step: Tensor | None) -> dict[str, float]:
        """Mean entropy of each role with ``step`` added to the parameters, which are put back."""
        sizes = [leaf.numel() for leaf in self.leaves]
        parts = [None] * len(sizes) if step is None else step.split(sizes)
        for leaf, rest, part in zip(self.leaves, self.at_rest, parts, strict=True):
            leaf.copy_(rest if part is None else rest + part.view_as(rest))
        entropy = self._forward()[1]
        for leaf, rest in zip(self.leaves, self.at_rest, strict=True):
            leaf.copy_(rest)
        return {role: float(entropy[self._mask(role)].mean()) for role in ROLES}


def _answers(model: Any, tokenizer: Any, seed: int, prompts: int) -> dict[str, Tensor]:
    """Answers of the policy to some training problems, with rewards and labels."""
    task = countdown()
    asked = [p for p in islice(task.problems("train", seed), prompts) for _ in range(DEMO.samples_per_prompt)]
    drawn = sample(model, tokenizer, [p.prompt for p in asked], seed=seed, max_tokens=DEMO.max_tokens)
    words = [
        tokenizer.convert_ids_to_tokens(row[mask].tolist()) for row, mask in zip(drawn.ids, drawn.mask, strict=True)
    ]
    verdicts = score(task, asked, drawn.texts)
    return {
        "prompt": drawn.prompt_ids,
        "prompt_mask": drawn.prompt_mask,
        "ids": drawn.ids,
        "mask": drawn.mask,
        "label": label_tokens(task, asked, words, drawn.mask),
        "reward": torch.tensor([float(verdict.correct) for verdict in verdicts], dtype=torch.float64),
        "states": _states(model, drawn),
    }


@torch.no_grad()
def _states(model: Any, drawn: Any) -> Tensor:
    """[B, T, D], the states of the answers' tokens after the last norm."""
    ids = torch.cat([drawn.prompt_ids, drawn.ids], dim=1)
    attention = torch.cat([drawn.prompt_mask, drawn.mask.long()], dim=1)
    states = model.model(input_ids=ids, attention_mask=attention).last_hidden_state
    return states[:, drawn.prompt_ids.shape[1] :]
