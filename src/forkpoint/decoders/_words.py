"""Choices that several machines make."""

from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from forkpoint.decoders._machine import Look, Mixture, Put

Answer = Literal["sample", "greedy"]
"""how the phase after thinking is written"""


def answered(look: Look, answer: Answer) -> Int[Tensor, " N"]:
    """What an answer phase takes."""
    return look.next.draw(look.luck()) if answer == "sample" else look.next.likeliest


def heaviest(weights: Float[Tensor, "N V"], most: int) -> Mixture:
    """The ids of the ``most`` largest weights, and these made to sum to 1."""
    top = weights.topk(min(most, weights.shape[-1]))
    return top.indices, top.values / top.values.sum(-1, keepdim=True)


def ends(look: Look, rows: Bool[Tensor, " N"]) -> tuple[Put, ...]:
    """Put the marker that ends thinking in these rows, from this token on."""
    return ((rows, look.markers.end),) if look.markers else ()
