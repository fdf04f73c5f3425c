"""One step of KL-Cov on plain tensors, with no trainer: which tokens it marks, and what that does to the gradient.

python examples/02_one_step_of_kl_cov.py
"""

import torch

from forkpoint.batch import StepBatch
from forkpoint.methods import build

torch.manual_seed(0)
logp_old = -torch.rand(8, 12) * 3
logp = (logp_old + 0.2 * torch.randn(8, 12)).requires_grad_()
step = StepBatch(
    logp=logp,
    logp_old=logp_old,
    mask=torch.arange(12) < torch.randint(6, 13, (8, 1)),
    advantage=torch.tensor([1.5, -0.5, 0.8, -1.8, 1.0, -1.0, 0.4, -0.4]),
)

for method in (build("grpo"), build("kl_cov", share=0.1)):
    plan = method.plan(step)
    loss = method.step_loss(step)
    (gradient,) = torch.autograd.grad(loss, logp)
    print(f"{method}: loss {loss.item():+.4f}, {int(plan.mark.sum())} of {int(step.mask.sum())} tokens marked")
    for row, token in plan.mark.nonzero().tolist():
        ratio = (logp[row, token] - logp_old[row, token]).exp().item()
        print(f"   row {row} token {token:2d}  advantage {step.advantage[row]:+.1f}  ratio {ratio:.2f}", end="")
        print(f"  pushed by {-gradient[row, token].item():+.4f}")
