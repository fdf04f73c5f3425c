"""Who says what a token is: labels fixed when a completion is written, for methods that read roles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from forkpoint import catalog, roles
from forkpoint.batch import StepBatch
from forkpoint.labels import Label
from forkpoint.methods import Method
from forkpoint.roles.reference_fork import check, reference_fork
from forkpoint.strategic_grams import StrategicGrams
from forkpoint.tasks import Task, said
from forkpoint.trainers._evaluation import label_tokens
from forkpoint.trainers._offsets import character_offsets

Labeler = Callable[[Sequence[Any], Int[Tensor, "B T"], Bool[Tensor, "B T"], Any], Int[Tensor, "B T"]]
"""(prompts, token ids, mask, tokenizer) -> a ``Label`` per token, 0 outside the mask"""


def labeled_by(task: Task) -> Labeler:
    """The labels that a task gives."""

    def label(
        prompts: Sequence[Any], token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], tokenizer: Any
    ) -> Int[Tensor, "B T"]:
        problems = [task.read(said(prompt)) for prompt in prompts]
        chosen = [row[keep].tolist() for row, keep in zip(token_ids, mask, strict=True)]
        return label_tokens(task, problems, [tokenizer.convert_ids_to_tokens(ids) for ids in chosen], mask)

    return label


class labeled_by_grams:
    """PLANNING where a token wrote a part of a strategic gram, EXECUTION for the rest: a labeler for any task.

    Words are found in the text and tokens by the characters they wrote, so that it works however words are cut into
    tokens; nothing is tokenized. ``planning`` of ``tokens`` labeled so far were planning.
    """

    def __init__(self, grams: StrategicGrams) -> None:
        self.grams = grams
        self.tokens = self.planning = 0

    @property
    def share(self) -> float:
        """The share labeled planning so far; nan before the first token. Near 0 or 1, the grams tell roles badly."""
        return self.planning / self.tokens if self.tokens else float("nan")

    def __call__(
        self, prompts: Sequence[Any], token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], tokenizer: Any
    ) -> Int[Tensor, "B T"]:
        labels = torch.zeros(mask.shape, dtype=torch.long)
        for row, ids in enumerate(token_ids):
            chosen = mask[row].cpu()
            found = gram_labels(self.grams, tokenizer, ids[mask[row]].tolist())
            labels[row, chosen] = torch.tensor([int(label) for label in found], dtype=torch.long)
            self.tokens, self.planning = self.tokens + len(found), self.planning + found.count(Label.PLANNING)
        return labels.to(mask.device)


@dataclass(frozen=True)
class forks_by_reference:
    """FORK where a frozen reference policy's entropy is high, EXECUTION for the rest: labels for any task.

    By ``threshold`` in nats, or by ``share``: the top of the rollout's tokens, on each process its own. ``manage(...,
    reference=model)`` names the policy. Raises ValueError for a share outside (0, 1] and a threshold below 0.

    >>> entropy, mask = torch.tensor([[0.1, 0.7, 0.9, 2.0]]), torch.tensor([[True, True, True, False]])
    >>> forks_by_reference().label(entropy, mask), forks_by_reference(share=0.3).label(entropy, mask)
    (tensor([[2, 1, 1, 0]]), tensor([[2, 2, 1, 0]]))
    """

    threshold: float = 0.672
    share: float | None = None

    def __post_init__(self) -> None:
        check(self.threshold, self.share)

    def label(self, entropy: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        unknown = torch.zeros_like(entropy)
        step = StepBatch(unknown, unknown, mask, unknown[:, 0], entropy_reference=entropy)
        forks = reference_fork(step, self.threshold, self.share)
        return mask * torch.where(forks, Label.FORK, Label.EXECUTION)


def gram_labels(grams: StrategicGrams, tokenizer: Any, ids: Sequence[int]) -> list[Label]:
    """One label per token of a completion."""
    text, spans = character_offsets(tokenizer, ids)
    inside = [False] * len(text)
    for start, end in grams.spans(text):
        inside[start:end] = [True] * (end - start)
    # a space between two words of a gram is inside it, the one a token begins with before a gram is not
    planning = [any(inside[i] for i in range(start, end) if not text[i].isspace()) for start, end in spans]
    return [Label.PLANNING if hit else Label.EXECUTION for hit in planning]


def reads_labels(method: Method) -> bool:
    """Whether its plan or a controller of it needs roles that come from labels."""
    return _reads(method, "label")


def reads_reference(method: Method) -> bool:
    """Whether its plan or a controller of it needs the entropy of a frozen reference."""
    return _reads(method, "entropy_reference")


def absent_roles(method: Method, label: Int[Tensor, "B T"]) -> list[str]:
    """A line for every role that the method goes by and no token has.

    >>> from forkpoint.methods import build
    >>> absent_roles(build("hicra"), torch.tensor([[1, 2, 0]]))
    ['hicra goes by planning tokens, and none of the first rollout is one: its labels are fork, execution']
    """
    asked = {value for key, value in method.settings.items() if key.rpartition(".")[2] == "role"}
    asked |= {key.rpartition("/")[2] for controller in method.controllers for key in controller.reads}
    found = [one for one in Label if one and (label == one).any()]
    told = ", ".join(one.name.lower() for one in found) or "none"
    return [
        f"{method.name} goes by {one.name.lower()} tokens, and none of the first rollout is one: its labels are {told}"
        for one in Label
        if one.name.lower() in asked and one not in found
    ]


def _reads(method: Method, field: str) -> bool:
    ends = tuple(f"/{role}" for role in catalog.names("roles") if field in roles.reads(role))
    keys = [key for controller in method.controllers for key in controller.reads]
    return field in method.reads or any(key.endswith(ends) for key in keys)
