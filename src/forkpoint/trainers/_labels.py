"""Who says what a token is: labels fixed when a completion is written, for methods that read roles."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Bool, Int
from torch import Tensor

from forkpoint import catalog
from forkpoint.methods import Method
from forkpoint.tasks import Task
from forkpoint.trainers._evaluation import label_tokens

Labeler = Callable[[Sequence[Any], Int[Tensor, "B T"], Bool[Tensor, "B T"], Any], Int[Tensor, "B T"]]
"""(prompts, token ids, mask, tokenizer) -> a ``Label`` per token, 0 outside the mask"""


def labeled_by(task: Task) -> Labeler:
    """The labels that a task gives."""

    def label(
        prompts: Sequence[Any], token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], tokenizer: Any
    ) -> Int[Tensor, "B T"]:
        problems = [task.read(prompt) for prompt in prompts]
        chosen = [row[keep].tolist() for row, keep in zip(token_ids, mask, strict=True)]
        return label_tokens(task, problems, [tokenizer.convert_ids_to_tokens(ids) for ids in chosen], mask)

    return label


def reads_labels(method: Method) -> bool:
    """Whether its plan or a controller of it needs roles."""
    roles = catalog.names("roles")
    read = [key for controller in method.controllers for key in controller.reads]
    return "label" in method.reads or any(key.endswith(tuple(f"/{role}" for role in roles)) for key in read)
