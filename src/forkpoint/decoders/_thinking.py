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
        self._over = [marker for marker in (markers.end, *markers.given_up) if marker] if markers else []
        self._longest = max((len(marker) for marker in (*self._over, *([markers.begin] if markers else []))), default=0)

    def take(self, token: int, *, in_prompt: bool = False) -> bool:
        """Whether it thinks after this token. In a prompt that no marker begins in, none ends it either."""
        if self._markers is None:
            return False
        self._tail = (*self._tail, token)[-self._longest :]
        begin = self._markers.begin
        if begin and self._ends_with(begin):
            self.now = True
        elif begin or not in_prompt:
            self.now = self.now and not any(map(self._ends_with, self._over))
        return self.now

    def _ends_with(self, marker: tuple[int, ...]) -> bool:
        return self._tail[-len(marker) :] == marker


def thought(markers: Markers | None, prompt: Sequence[int], ids: Sequence[int]) -> int:
    """How many of a completion's tokens are thinking: those that it takes while it thinks."""
    *before, _ = _thinking(markers, (*prompt, *ids), len(prompt))
    return sum(before[len(prompt) :])


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
