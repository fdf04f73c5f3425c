"""What the columns mean that a trainer's monitor writes beside the metrics of the folder."""

from dataclasses import replace

from forkpoint.batch import Definition
from forkpoint.metrics import definitions
from forkpoint.trainers._guards import DEFINITIONS

_WHOLE = "whole completions"
_OWN = (
    Definition(
        "reward", "weighted sum of the trainer's reward functions", "mean over the rollout", "reward", (), "", _WHOLE
    ),
    Definition(
        "guard/no_verdict_share",
        "completions without a verdict of the task, or where none is given, without any reward",
        *("over the rollout", "share", (), "", _WHOLE),
    ),
    Definition(
        "guard/record_lost",
        "readings and completions dropped because the record could not be written and the memory for them was full",
        *("since the reading before", "readings and completions", (), "", _WHOLE),
    ),
    Definition(
        "guard/tracker_failures",
        "errors of the trainer's trackers (W&B, TensorBoard ...) that were caught; absent without trackers",
        *("since training began", "errors", (), "", _WHOLE),
    ),
    Definition("loss", "what the trainer minimized", "the trainer's own", "loss", (), ""),
    Definition("length", "tokens of a completion, its end token included", "mean over completions", "tokens"),
    Definition(
        "diversity",
        "kind of completion, as the task tells it by its text",
        "share of completions for a word, mean over completions for a number",
        "share, or the number's own",
        token_set=_WHOLE,
    ),
    Definition(
        "diversity/mutual_information",
        "how much a completion tells of its prompt, from mean log-probs per token of each of some completions under "
        "each of their prompts; a proxy, at most ln N (/bound). /retrieval: completions most likely under their own",
        *("mean over the crossed completions of an evaluation", "nats; share for /retrieval", (), "", _WHOLE),
    ),
    Definition(
        "advantage/taught",
        "advantage times weight that the method's plan gives a token: what the update teaches, clipped ratios aside",
        "token mean",
        "advantage",
        by_role=True,
    ),
    Definition("control/marked_share", "tokens that the method's plan marked", "over the step's tokens", "share"),
    Definition("control/removed_share", "tokens that the plan took out of the loss", "over the step's tokens", "share"),
)


def stated(temperature: float, num_samples: int) -> dict[str, Definition]:
    """Every column of a run by key, at this sampling temperature, with pass@k for each k up to ``num_samples``.

    >>> sorted(key for key in stated(1.0, 3) if key.startswith("pass@"))[:3]
    ['pass@1', 'pass@16', 'pass@2']
    """
    found = definitions()
    found |= {f"pass@{k}": replace(found["pass@1"], key=f"pass@{k}") for k in range(1, num_samples + 1)}
    found = {key: replace(definition, temperature=str(temperature)) for key, definition in found.items()}
    return found | {definition.key: definition for definition in (*_OWN, *DEFINITIONS)}
