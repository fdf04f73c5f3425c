"""Which tokens of a completion are thinking, by the markers that begin and end it."""

from collections.abc import Iterator, Sequence

from forkpoint.decoders._policy import Markers


class Thinks:
    """Whether a row thinks, token by token. It does from the start where no marker begins it.

    >>> row = Thinks(Markers(end=(7, 8), begin=(5,)))
    >>> [row.take(token) for token in (1, 5, 2, 7, 8, 3)]
    [False, True, True, True, False, False]
    """

    def __init__(self, markers: Markers | None) -> None:
        self._markers = markers
        self.now = markers is not None and not markers.begin
        self._tail: tuple[int, ...] = ()
        self._turns = turns(markers)
        self._longest = max((len(marker) for marker, _ in self._turns), default=0)

    def take(self, token: int, *, in_prompt: bool = False) -> bool:
        """Whether it thinks after this token. In a prompt that no marker begins in, none ends it either."""
        if self._markers is None:
            return False
        self._tail = (*self._tail, token)[-self._longest :]
        if self._markers.begin or not in_prompt:
            for marker, begins in self._turns:
                if self._tail[-len(marker) :] == marker:
                    self.now = begins
        return self.now


def turns(markers: Markers | None) -> list[tuple[tuple[int, ...], bool]]:
    """Every marker with whether it begins thinking. Of those that end alike the longest is meant: it comes last.

    >>> turns(Markers(end=(7, 5), begin=(5,)))
    [((5,), True), ((7, 5), False)]
    """
    if markers is None:
        return []
    found = [(markers.begin, True), *((marker, False) for marker in (markers.end, *markers.given_up))]
    return sorted(((marker, begins) for marker, begins in found if marker), key=lambda turn: len(turn[0]))


def thought(markers: Markers | None, prompt: Sequence[int], ids: Sequence[int]) -> tuple[bool, ...]:
    """Whether each of a completion's tokens is thinking: one that it takes while it thinks.

    >>> thought(Markers(end=(7, 8), begin=(5,)), (1,), (1, 5, 2, 7, 8, 3))
    (False, False, True, True, True, False)
    """
    *before, _ = _thinking(markers, (*prompt, *ids), len(prompt))
    return tuple(before[len(prompt) :])


def thinks_after(markers: Markers | None, ids: Sequence[int], prompt: int) -> bool:
    """Whether a row that has read these ids, ``prompt`` of them its prompt, thinks."""
    *_, last = _thinking(markers, ids, prompt)
    return last


def _thinking(markers: Markers | None, ids: Sequence[int], prompt: int) -> Iterator[bool]:
    """Whether it thinks after none of its ids, after the first, and so on."""
    row = Thinks(markers)
    yield row.now
    for at, token in enumerate(ids):
        yield row.take(token, in_prompt=at < prompt)
