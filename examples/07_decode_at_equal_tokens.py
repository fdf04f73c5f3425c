"""Spend the same tokens in three ways, and see what each token was for.

python examples/07_decode_at_equal_tokens.py
"""

from itertools import islice

from forkpoint.decoders import Ask, build, load_policy
from forkpoint.tasks.countdown import countdown
from forkpoint.verify import score

BUDGET = 160

task = countdown()
policy = load_policy("tiny", task.thinking)
problems = list(islice(task.problems("test"), 32))
asks = [Ask(p.id, policy.encode(p.prompt), lambda text, p=p: task.answer(p, text)) for p in problems]

for name, settings in {
    "greedy": {},
    "sample+parallel_vote": {"max_tokens": 56},
    "entropy_branching": {"threshold": 1.0, "segment": 8, "beams": 2, "expansions": 2},
}.items():
    found = build(name, **settings).decode(policy, asks, BUDGET, seed=0)
    right = sum(verdict.correct for verdict in score(task, problems, [one.text for one in found]))
    spent = [one.spent for one in found]
    kept, discarded = sum(one.kept for one in spent), sum(one.discarded for one in spent)
    print(f"{name:22} {right:2d} of {len(asks)} right, {sum(one.total for one in spent) / len(asks):5.1f} tokens each")
    print(f"{'':22} generated {kept} that took part in an answer, {discarded} that did not")
