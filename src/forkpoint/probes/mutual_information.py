"""How much completions tell of their prompts: a proxy of input-output mutual information (arXiv:2604.06268).

mean over crossed problems of l_ii - ln(1/N sum_j exp l_ij), l_ij the mean log-prob per token of problem i's completion
under problem j's prompt; at most ln N, and 0 where a model says the same whatever it is asked. A model can keep its
entropy and lose this.
"""

import math

import torch

from forkpoint.metrics._mutual_information import prompt_information, prompt_terms
from forkpoint.probes._reading import Reading, reading
from forkpoint.probes._samples import Samples


def mutual_information(samples: Samples) -> Reading | None:
    """None where the samples hold no crossed log-probs. The interval is over completions, the prompts as they are.

    >>> from forkpoint.probes._samples import Crossed, Drawn
    >>> pair = [Drawn(name, "", ("",), (None,), ("none",), (0.0,), (1,)) for name in "ab"]
    >>> found = mutual_information(Samples(tuple(pair), Crossed(("a", "b"), ((-1.0, -3.0), (-3.5, -1.2)))))
    >>> round(found.values["mutual_information"].value, 6), found.note
    (0.58191, '2 prompts crossed: at most ln 2 = 0.693 nats; retrieval 1.000, by chance 0.500')
    """
    if samples.crossed is None:
        return None
    table = torch.tensor(samples.crossed.logp, dtype=torch.float64)
    told, size = prompt_information(table), len(table)
    own = dict(zip(samples.crossed.ids, prompt_terms(table).tolist(), strict=True))
    columns = {"mutual_information": samples.each(lambda one: own.get(one.id, math.nan))}
    most = f"{size} prompts crossed: at most ln {size} = {told.bound:.3f} nats"
    return reading(columns, "nats", f"{most}; retrieval {told.retrieval:.3f}, by chance {1 / size:.3f}")
