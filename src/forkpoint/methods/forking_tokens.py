"""Forking tokens: learn from the fifth of the tokens with the highest entropy only (arXiv:2506.01939).

    kept = the max(1, floor(share N + 0.9999)) largest H of the step's N tokens
    loss = -(1 / kept) sum over them of min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)

Most tokens are nearly certain; the few of high entropy decide which way the reasoning goes.

Settings of the paper  share 0.2 and bounds of 0.2 and 0.28, no KL and no entropy term. 0.1 and 0.5 did as well at
8B; at 14B and 32B the paper found 0.1 slightly and 1 clearly worse.
Differs from the authors' code: the tokens are ranked over the whole step and not inside each micro-batch, and ties go
by (row, position). Their dual clip, which stops a bad answer's token once its ratio exceeds 10, is left out.
Normalize  "kept" divides by the kept tokens, as in the paper. "all" keeps the removed tokens in the denominator, as
TRL's ``top_entropy_quantile`` does, so the loss is about ``share`` times as large.
Pitfalls  N / kept makes a mean over tokens one over kept tokens, so "kept" takes the token mean and refuses a host or
another method that averages over answers. The entropy is that of the policy in training: where a step is cut into
micro-batches it costs one extra pass. Being picked by entropy, the kept tokens say little about where entropy goes:
read it by role.
"""

from forkpoint.credit.top_entropy import Normalize, top_entropy
from forkpoint.methods._method import Method, method
from forkpoint.objectives.clip import clip


@method
def forking_tokens(
    *, share: float = 0.2, normalize: Normalize = "kept", clip_low: float = 0.2, clip_high: float = 0.28
) -> Method:
    """Train the ``share`` of the step's tokens with the highest entropy, by the clipped surrogate.

    share in (0, 1], normalize "kept" or "all", clip_low in [0, 1], clip_high >= 0; ValueError otherwise.

    >>> import torch
    >>> from forkpoint.batch import StepBatch
    >>> zeros, mask = torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)
    >>> entropy = torch.tensor([[0.1, 2.0], [0.3, 0.2]])
    >>> step = StepBatch(zeros, zeros, mask, torch.tensor([1.0, -3.0]), entropy=entropy)
    >>> forking_tokens(share=0.5).step_loss(step)               # the tokens of H = 2.0 and 0.3: (-1 + 3) / 2
    tensor(1.)
    """
    return Method(
        (top_entropy(share=share, normalize=normalize),),
        clip(clip_low=clip_low, clip_high=clip_high),
        reads=("entropy",),
        intervenes=True,
        sets=("epsilon", "epsilon_high", "top_entropy_quantile"),
        reduction="token_mean" if normalize == "kept" else None,
        stand_in=("clip_low", "clip_high"),
    )
