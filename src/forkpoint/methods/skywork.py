"""Skywork-OR1: an entropy bonus that is switched on below a target and grows while it stays there (arXiv:2505.22312).

    loss = clipped surrogate - coef H
    c <- clip(c + delta [e < target] - delta [e > target], 0, most),    coef = c [e <= target]

H is the full-softmax entropy with its gradient; e is the mean of -log p_old over the step's tokens ("entropy/sampled"),
measured in one step and acting in the next. c begins at 0.

Settings of the paper  target 0.2, delta 0.005. The released scripts step by 1e-4 up to 0.005, fifty times slower;
``most`` is not in the paper, and 1 is where TRL's port stops.
An e that equals the target leaves c alone and the bonus on, as in the paper's formulas; the authors' code compares
strictly. Differs from TRL's port, which measures the full-softmax entropy instead of e.
Pitfalls  One-sided: above the target the bonus is off, and nothing lowers entropy. A step of fixed size cannot settle,
and the gate throws the whole coefficient on and off around the target; the authors advise one or two updates per
rollout. The useful range of coefficients is narrow (see entropy_bonus).
"""

from forkpoint.controllers._parts import demand
from forkpoint.controllers.bang_bang import bang_bang
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip_entropy import clip_entropy

LIVELY = {"coef": 0.5, "target": 0.5, "delta": 0.25}


@method
def skywork(
    *,
    coef: float = 0.0,
    target: float = 0.2,
    delta: float = 0.005,
    most: float = 1.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Method:
    """Begin with ``coef`` and move it by ``delta`` per step, so that sampled entropy does not stay below ``target``.

    coef, target, delta and most >= 0, most finite, clip_low in [0, 1], clip_high >= 0; ValueError otherwise. A ``coef``
    above ``most`` is lowered to it at the first reading.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> from forkpoint.controllers import Loop
    >>> loop = Loop(skywork().controllers)
    >>> [loop.take({"step": 1.0, "entropy/sampled": e})["coef"] for e in (0.1, 0.1, 0.3, 0.2)]
    [0.005, 0.01, 0.0, 0.005]
    >>> logp, mask = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    >>> step = StepBatch(logp, logp, mask, torch.ones(1), entropy=torch.tensor([[2.0, 1.0]]))
    >>> skywork().step_loss(step, knobs={"coef": 0.1})          # (-1 - 0.2 - 1 - 0.1) / 2
    tensor(-1.1500)
    """
    demand(0.0, coef=coef, target=target, delta=delta, most=most)
    begin = min(coef, most)
    return Method(
        (),
        clip_entropy(coef=coef, clip_low=clip_low, clip_high=clip_high),
        reads=("entropy",),
        intervenes=True,
        sets=("epsilon", "epsilon_high", "entropy_coef", "use_adaptive_entropy"),
        controllers=(bang_bang("coef", "entropy/sampled", target=target, delta=delta, high=most, begin=begin),),
    )
