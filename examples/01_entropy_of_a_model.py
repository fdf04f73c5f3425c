"""Where does a model's entropy live? Sample from it and read the entropy of every kind of token.

python examples/01_entropy_of_a_model.py [MODEL]
"""

import sys
from itertools import islice

import torch

from forkpoint.metrics.entropy_full import token_entropy
from forkpoint.policies import load
from forkpoint.policies.sample import sample
from forkpoint.tasks.countdown import countdown

model, tokenizer = load(sys.argv[1] if len(sys.argv) > 1 else "tiny")
task = countdown()
problems = list(islice(task.problems("test"), 64))
drawn = sample(model, tokenizer, [problem.prompt for problem in problems], seed=0, max_tokens=56)

with torch.no_grad():
    ids = torch.cat([drawn.prompt_ids, drawn.ids], dim=1)
    attention = torch.cat([drawn.prompt_mask, drawn.mask.long()], dim=1)
    logits = model(input_ids=ids, attention_mask=attention).logits[:, drawn.prompt_ids.shape[1] - 1 : -1]
entropy = token_entropy(logits)

by_label: dict[str, list[float]] = {}
for row, problem in enumerate(problems):
    chosen = drawn.mask[row]
    tokens = tokenizer.convert_ids_to_tokens(drawn.ids[row][chosen].tolist())
    for label, nats in zip(task.labels(problem, tokens), entropy[row][chosen].tolist(), strict=True):
        by_label.setdefault(label.name.lower(), []).append(nats)

print(f"mean over {int(drawn.mask.sum())} tokens: {entropy[drawn.mask].mean():.3f} nats (full softmax, T=1)")
for name, values in sorted(by_label.items(), key=lambda item: -sum(item[1]) / len(item[1])):
    print(f"{name:10} {sum(values) / len(values):6.3f} nats over {len(values):5d} tokens")

row = 0
print(f"\n{problems[row].prompt}")
for token, nats in zip(drawn.texts[row].split(), entropy[row].tolist(), strict=False):
    print(f"{token:>8} {nats:6.3f} {'#' * round(20 * nats)}")
