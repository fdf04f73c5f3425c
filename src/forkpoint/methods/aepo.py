"""AEPO: hold entropy at any level by REINFORCE on answers sampled hotter or colder (arXiv:2510.08141).

    gradient = that of the clipped surrogate + coef E[grad log p(y) [reward(y) > threshold]],  y sampled at temperature
    temperature = hot where H <= target, else cold

The second term is taken on whole groups of each rollout, a ``share`` of them, sampled apart; right answers of a hotter
policy raise entropy, those of a colder one lower it. H is the token mean of the full-softmax entropy over the other
rows, measured in one step and acting in the next; the first rollout is sampled at ``temperature``.

Settings of the authors' code  hot 1.2, cold 0.8, target 0.5, and the first quarter of a rollout's prompts sampled a
second time. The paper tunes the target alone; 0.75 is its best for a 7B model.
Differs from the authors' code, which replaces the first 60 rows of each batch (30 where H is high) by right shifted
answers: here the groups are drawn by (run seed, group), so no prompt is favored; every right shifted answer counts, as
in the paper, where the code keeps those better than their group; wrong shifted answers stay in the denominator; no
rollout is larger than the host's. Shifted answers never enter another group's baseline.
Pitfalls  Off-policy the second term is clipped as the first is, in the authors' code too. Log-probs and ratios are
those of the policy at the host's temperature, as in the paper's gradient. Shifted rows also stand in the host's own
reward and entropy columns. With a ``share`` of 1 no row is left to measure H on, and the temperature stays. A ``hot``
below ``cold`` turns the feedback around. The control is bang-bang: expect a small limit cycle.
Not the agentic method that shares the initials (arXiv number 2510.14545).
"""

from forkpoint.controllers._parts import demand
from forkpoint.controllers.switch import switch
from forkpoint.credit.shifted_reward import shifted_reward
from forkpoint.methods._method import Method, Shift, method
from forkpoint.objectives.clip import clip

LIVELY = {"coef": 0.5}


@method
def aepo(
    *,
    temperature: float = 1.2,
    target: float = 0.5,
    hot: float = 1.2,
    cold: float = 0.8,
    share: float = 0.25,
    coef: float = 1.0,
    threshold: float = 0.5,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Method:
    """Sample a ``share`` of the groups ``hot`` or ``cold`` and learn from their right answers alone.

    temperatures in [0.01, 100], target >= 0, share in (0, 1], coef >= 0, threshold within 1e6, clip_low in [0, 1],
    clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> logp, mask = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
    >>> step = StepBatch(logp, logp, mask, torch.tensor([-1.0, 0.2]), reward=torch.tensor([0.0, 1.0]),
    ...                  shifted=torch.tensor([False, True]))
    >>> aepo(coef=3.0).step_loss(step)                          # -(-1 + 3) / 2
    tensor(-1.)
    """
    demand(0.01, 100.0, temperature=temperature, hot=hot, cold=cold)
    demand(0.0, target=target)
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: it is a fraction in (0, 1] of the rollout's groups; 25 % is 0.25")
    values = {"below": hot, "inside": hot, "above": cold}
    return Method(
        (shifted_reward(coef=coef, threshold=threshold),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("reward", "shifted"),
        intervenes=True,
        sets=("epsilon", "epsilon_high"),
        controllers=(switch("temperature", "entropy/full", lower=target, upper=target, **values),),
        stand_in=("clip_low", "clip_high"),
        shift=Shift(share, temperature),
    )
