"""How much a completion tells of its prompt: a proxy for mutual information, against template collapse (2604.06268).

    l_ij    mean log-prob per token of completion i under prompt j, for N prompts and one completion of each
    H(Z|X)  = -mean_i l_ii
    H(Z)    = -mean_i ln(1/N sum_j exp l_ij)
    MI      = H(Z) - H(Z|X) = mean_i (l_ii - ln(1/N sum_j exp l_ij)),    at most ln N

A policy may keep its entropy and still say the same whatever it is asked: then every column of l is alike and MI is 0.
Being of mean log-probs it is a proxy, no mutual information in nats per answer, and may be negative. ``retrieval`` is
the share of completions that their own prompt makes most likely; 1 / N is chance.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class PromptInformation(NamedTuple):
    """The three numbers, and the most that the first can be."""

    mutual_information: float
    retrieval: float
    conditional: float
    """H(Z|X), nats per token"""
    bound: float
    """ln N"""


def prompt_information(logp: Float[Tensor, "N N"]) -> PromptInformation:
    """MI of the matrix l (row: completion, column: prompt), in nats, in float64. One non-finite entry makes MI nan.

    Ties in ``retrieval`` do not count: a completion as likely under another prompt is not told apart. ValueError for
    fewer than two prompts.

    >>> [round(value, 6) for value in prompt_information(torch.tensor([[-1.0, -3.0], [-3.5, -1.2]]))]
    [0.58191, 1.0, 1.1, 0.693147]
    """
    num = len(logp)
    if num < 2:
        raise ValueError(f"prompt_information: {num} prompts; it compares two or more")
    scores = logp.double()
    if not scores.isfinite().all():
        return PromptInformation(math.nan, math.nan, math.nan, math.log(num))
    own = scores.diagonal()
    others = scores.masked_fill(torch.eye(num, dtype=torch.bool, device=logp.device), -torch.inf).amax(1)
    told = (own > others).double().mean()
    return PromptInformation(float(prompt_terms(scores).mean()), float(told), float(-own.mean()), math.log(num))


def prompt_terms(logp: Float[Tensor, "N N"]) -> Float[Tensor, " N"]:
    """What each completion adds to MI, in nats: l_ii - ln(1/N sum_j exp l_ij).

    >>> prompt_terms(torch.tensor([[-1.0, -3.0], [-3.5, -1.2]])).double()                # their mean is 0.58191
    tensor([0.5662, 0.5976], dtype=torch.float64)
    """
    return logp.diagonal() - (logp.logsumexp(1) - math.log(len(logp)))
