"""Draw the samples of any causal LM, chunk by chunk of problems, into a file that goes on where it was cut off.

A chunk's draws are keyed by the seed and the number of its first problem, and depend on no other chunk: drawn in one go
or after an interruption, the samples are the same file, byte for byte, on one machine's CPU.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forkpoint.draws import token_hash
from forkpoint.policies.ids import ends_of, fitted, vocabulary_of
from forkpoint.policies.logp import crossed_logp, token_logp
from forkpoint.policies.sample import Sampled, encoded, sample
from forkpoint.probes._asked import Asked
from forkpoint.probes._samples import Crossed, Drawn, Samples, from_rows, to_row
from forkpoint.record import lines
from forkpoint.tasks import Problem, Task, first_problems
from forkpoint.verify import score

ROWS = 256
"""completions at a time, where a problem has fewer"""

Show = Callable[[int, int], None]
Drawing = tuple[Any, Any, Task, Asked]
"""model, tokenizer, task, and what is asked"""


def draw(drawing: Drawing, path: Path, *, show: Show | None = None) -> Samples:
    """All samples, those that ``path`` holds already included. ``show(done, asked)`` is called after each chunk.

    Raises ValueError, in one line, for a file of other problems, a task with too few, a prompt that leaves no room, and
    log-probs that are not finite.
    """
    model, tokenizer, task, asked = drawing
    problems = first_problems(task, asked.problems)
    _check(model, tokenizer, problems, asked)
    done, crossed = in_chunks(path, problems, asked.k, lambda part, start: chunk(drawing, part, start), show=show)
    first = range(0, len(done), max(1, len(done) // max(1, asked.crossed)))[: asked.crossed]
    if crossed is None and len(first) > 1:
        crossed = cross(drawing, [done[i] for i in first])
        lines.append(path, [to_row(crossed)])
    return Samples(tuple(done), crossed)


def in_chunks(
    path: Path,
    problems: Sequence[Problem],
    k: int,
    make: Callable[[Sequence[Problem], int], Iterable[Drawn]],
    *,
    show: Show | None = None,
) -> tuple[list[Drawn], Crossed | None]:
    """The completions of all problems, in a file that goes on: ``make`` gets those that ``path`` does not hold yet.

    It is called with as many problems as give ``ROWS`` completions, and the number of the first.
    """
    size = max(1, ROWS // k)
    done, crossed = _kept(path, problems, size)
    for start in range(len(done), len(problems), size):
        rows = list(make(problems[start : start + size], start))
        lines.append(path, list(map(to_row, rows)))
        done += rows
        if show is not None:
            show(len(done), len(problems))
    return done, crossed


def chunk(drawing: Drawing, problems: Sequence[Problem], start: int) -> Iterator[Drawn]:
    """k completions of each of these problems, the first of which is number ``start``."""
    model, tokenizer, task, asked = drawing
    repeated = [problem for problem in problems for _ in range(asked.k)]
    settings = {"max_tokens": asked.max_tokens, "temperature": asked.temperature}
    seed = int(token_hash(np.array([start]), np.array([0]), (asked.seed, 0))[0] >> np.uint64(1))
    try:
        drawn = sample(model, tokenizer, [problem.prompt for problem in repeated], seed=seed, **settings)
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        raise ValueError(_not_finite(asked, problems[0])) from error
    logp, entropy = token_logp(model, drawn, asked.temperature)
    verdicts = [verdict.outcome for verdict in score(task, repeated, drawn.texts)]
    for i, problem in enumerate(problems):
        rows = range(i * asked.k, (i + 1) * asked.k)
        lengths = [int(drawn.mask[row].sum()) for row in rows]
        sums = [(float(logp[row].double().sum()), float(entropy[row].double().sum())) for row in rows]
        if not all(math.isfinite(number) for pair in sums for number in pair):
            raise ValueError(_not_finite(asked, problem))
        texts = tuple(drawn.texts[row] for row in rows)
        yield Drawn(
            id=problem.id,
            prompt=problem.prompt,
            texts=texts,
            answers=tuple(task.answer(problem, text) for text in texts),
            verdicts=tuple(verdicts[row] for row in rows),
            logp=tuple(pair[0] for pair in sums),
            lengths=tuple(lengths),
            entropy=tuple(pair[1] / max(1, length) for pair, length in zip(sums, lengths, strict=True)),
            tokens=tuple(tuple(drawn.ids[row][drawn.mask[row]].tolist()) for row in rows),
            traits=tuple(task.traits(problem, text) for text in texts),
        )


def cross(drawing: Drawing, problems: Sequence[Drawn]) -> Crossed:
    """The first completion of each of these problems under each other's prompt: one forward row per pair."""
    model, tokenizer, _, asked = drawing
    prompts = [one.prompt for one in problems]
    prompt_ids, prompt_mask = encoded(model, tokenizer, prompts)
    firsts = [torch.tensor(one.tokens[0] if one.tokens else ()) for one in problems]
    lengths = torch.tensor([len(first) for first in firsts], device=model.device)
    ids = torch.nn.utils.rnn.pad_sequence(firsts, batch_first=True).to(model.device)
    mask = torch.arange(ids.shape[1], device=model.device) < lengths[:, None]
    drawn = Sampled(prompt_ids, prompt_mask, ids, mask, [], vocabulary_of(tokenizer))
    table = crossed_logp(model, drawn, torch.arange(len(ids), device=model.device), asked.temperature)
    return Crossed(tuple(one.id for one in problems), tuple(map(tuple, table.tolist())))


def _kept(path: Path, problems: Sequence[Problem], size: int) -> tuple[list[Drawn], Crossed | None]:
    """What whole chunks the file holds; what follows them, as a killed writer leaves it, is cut off.

    Raises ValueError, naming the line, where one is damaged, missing, there twice or of another problem.
    """
    rows = lines.read(path)
    done, crossed = from_rows(rows, path)
    last = "crossed log-probs"
    found = [last if "crossed" in row else f"problem {row['problem']['id']!r}" for row in rows]
    lines.check_order(path, found, [*(f"problem {problem.id!r}" for problem in problems), last])
    whole = len(done) if len(done) == len(problems) else len(done) // size * size
    lines.keep(path, whole + (crossed is not None))
    return done[:whole], crossed


def _check(model: Any, tokenizer: Any, problems: Sequence[Problem], asked: Asked) -> None:
    """A model that cannot be drawn from as asked is refused before the first token."""
    try:
        fitted(model, tokenizer)
        ends_of(model, tokenizer)
    except ValueError as error:
        raise ValueError(f"model {asked.model!r}: {error}") from None
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(ids) for ids in tokenizer([problem.prompt for problem in problems])["input_ids"])
    if room is not None and longest + asked.max_tokens > room:
        what = f"a prompt of {longest} tokens and {asked.max_tokens} more are over its {room} positions"
        raise ValueError(f"model {asked.model!r}: {what}; lower --max-tokens")


def _not_finite(asked: Asked, problem: Problem) -> str:
    what = f"log-probs that are not finite, at problem {problem.id!r}"
    return f"model {asked.model!r}: {what}; its weights are damaged, or the temperature is too low"
