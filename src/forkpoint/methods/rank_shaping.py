"""Rank shaping: a bonus for answers whose hidden states span more than usual, VERL (arXiv:2509.23808).

    dev_x = clip((x - mid_x) / (|mid_x| + 1e-8), -5, 5)     for x of rank, velocity, acceleration
    beta = sigmoid(gain dev_acceleration)
    aux = weight (beta tanh(dev_rank) + (1 - beta) tanh(dev_velocity))
    A' = A + min(max(aux, 0), |A| / kappa),    then the clipped surrogate

x are the effective rank of an answer's hidden states and how it moves over prefixes of the answer; mid_x follows the
batch means by an exponential average of ``rate``. High acceleration moves the bonus to rank, low to velocity.

Settings of the paper  gain 2, kappa 2, weight 1, rate 0.3, prefixes 40 tokens apart (``stride``), a clip of 0.2, as in
the authors' launch script. Velocity needs two prefixes of an answer and acceleration three: shorten ``stride`` for
short answers.
Differs from the authors' code: the bonus shapes the advantage of every token of the answer and is never added to the
reward as well; an average begins at its first reading instead of at 0, and before that of the rank nothing is shaped,
before that of the others their dev is 0; an answer too short for a statistic gets no bonus and is left out of its
average, where theirs counts it as 0; an average holds the step before, theirs the one before that; the rank, as
velocity and acceleration there, is of the last 512 tokens, where theirs is of all.
Pitfalls  Effective rank grows with the length of an answer whatever it says, so this rewards length: read it beside
the rank of independent states of the same shape. "Exploration" and "exploitation" are the authors' names for rank and
velocity. The first step of a run is plain policy gradient, and so is a step whose answers are too short for a rank.
"""

from forkpoint.controllers.ema import ema
from forkpoint.credit.rank_bonus import LIVELY as LIVELY
from forkpoint.credit.rank_bonus import rank_bonus
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip

USUAL = {
    "mid_rank": "rank/effective",
    "mid_velocity": "rank/velocity",
    "mid_acceleration": "rank/acceleration",
}
"""settings, and the columns whose averages they are"""


@method
def rank_shaping(
    *,
    gain: float = 2.0,
    kappa: float = 2.0,
    weight: float = 1.0,
    rate: float = 0.3,
    stride: float = 40.0,
    mid_rank: float = 0.0,
    mid_velocity: float = 0.0,
    mid_acceleration: float = 0.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Method:
    """Add a capped bonus by the rank statistics of an answer; the mids are turned by averages of the batch means.

    gain, weight, mid_rank, clip_high >= 0, kappa >= 1, rate in (0, 1], stride a whole number from 1, clip_low in
    [0, 1]; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    >>> rank = torch.tensor([[60.0, 12.0, 4.0, 0.0, 0.0, 0.0]])
    >>> step = StepBatch(zeros, zeros, mask, torch.ones(1), rank=rank)
    >>> usual = {"mid_rank": 50.0, "mid_velocity": 10.0, "mid_acceleration": 3.0}
    >>> rank_shaping().step_loss(step), rank_shaping(**usual).step_loss(step)        # -(1 + tanh(0.2))
    (tensor(-1.), tensor(-1.1974))
    """
    if not (1 <= stride < 1e6 and stride == int(stride)):
        raise ValueError(f"stride={stride}: it is a number of tokens, so it must be whole and at least 1")
    mids = {"mid_rank": mid_rank, "mid_velocity": mid_velocity, "mid_acceleration": mid_acceleration}
    return Method(
        (rank_bonus(gain=gain, kappa=kappa, weight=weight, **mids),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("rank",),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        controllers=tuple(ema(knob, column, rate=rate) for knob, column in USUAL.items()),
        stand_in=("clip_low", "clip_high"),
        rank_stride=int(stride),
    )
