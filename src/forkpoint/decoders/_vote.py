"""Which of several answers: the one whose traces weigh most."""

from collections.abc import Sequence

from forkpoint.decoders._decoder import Ask, Decoded, Spent, Trace


def voted(ask: Ask, traces: Sequence[Trace]) -> Decoded:
    """The answer with the largest sum of weights over the kept traces; of equals the one that was given first.

    A trace without an answer has no vote. The text is that of the heaviest trace with the answer, of equals the first;
    where no trace has an answer it is the first trace's.

    >>> one = Trace((), "a", "1", "end")
    >>> from dataclasses import replace
    >>> two = replace(one, text="b", answer="2")
    >>> voted(Ask("p", (1,)), [one, two, two, replace(two, answer=None)]).votes
    {'1': 1.0, '2': 2.0}
    """
    kept = [trace for trace in traces if trace.kept]
    votes: dict[str, float] = {}
    for trace in kept:
        if trace.answer is not None:
            votes[trace.answer] = votes.get(trace.answer, 0.0) + trace.weight
    spent = Spent.of(len(ask.prompt), traces)
    if not votes:
        return Decoded(next((trace.text for trace in [*kept, *traces]), ""), None, tuple(traces), spent)
    best = max(votes, key=lambda answer: votes[answer])
    text = max((t for t in kept if t.answer == best), key=lambda trace: trace.weight).text
    return Decoded(text, best, tuple(traces), spent, votes)
