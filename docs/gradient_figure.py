"""How hard a method pulls at a token, drawn by its own code: d loss / d log p against the ratio, as an SVG file."""

import math

import torch

from forkpoint.batch import Plan, Rows
from forkpoint.methods import Method
from forkpoint.studies._svg import Points, lines

RATIOS = [i / 100 for i in range(2, 251)]


def figure(method: Method) -> str:
    """The curves of a token with advantage 1 and -1; with marks, where the method's loss treats marked tokens apart."""
    curves: dict[str, Points] = {}
    for sign in (1, -1):
        plain, marked = pull(method, sign, marked=False), pull(method, sign, marked=True)
        curves[f"A = {sign:+d}"] = corners(plain)
        if marked != plain:
            curves[f"A = {sign:+d}, marked"] = corners(marked)
    return lines(f"{method.name}: pull at a token against its ratio", curves, "ratio p / p_old", "d loss / d log p")


def pull(method: Method, advantage: float, *, marked: bool) -> Points:
    """(ratio, d loss / d log p) of answers of one token each, weight 1, by autograd in float64; no mean is taken."""
    logp = torch.tensor([[math.log(ratio)] for ratio in RATIOS], dtype=torch.float64, requires_grad=True)
    ones, entropy = torch.ones_like(logp), torch.zeros_like(logp, requires_grad=True)
    plan = Plan(advantage * ones.detach(), ones.detach(), torch.full(logp.shape, marked))
    rows = Rows(logp, torch.zeros_like(logp), torch.ones(logp.shape, dtype=torch.bool), entropy)
    (found,) = torch.autograd.grad(method.objective(rows, plan).sum(), logp)
    return list(zip(RATIOS, found[:, 0].tolist(), strict=True))


def corners(points: Points) -> Points:
    """The points without those in the middle of a straight piece: the same line, in a small file.

    >>> corners([(0, 0.0), (1, 1.0), (2, 2.0), (3, 2.0)])
    [(0, 0.0), (2, 2.0), (3, 2.0)]
    """
    middle = zip(points, points[1:], points[2:], strict=False)
    kept = [b for a, b, c in middle if abs((b[1] - a[1]) * (c[0] - b[0]) - (c[1] - b[1]) * (b[0] - a[0])) > 1e-12]
    return [points[0], *kept, points[-1]]
