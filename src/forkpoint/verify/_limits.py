"""What one scored pair may use."""

from dataclasses import asdict, dataclass

MOST = 10**9
"""of any limit: clocks and system calls take no infinity"""


@dataclass(frozen=True)
class Limits:
    """Bounds on the process that scores a pair. What is in force on this machine, ``Pool.isolation`` says.

    >>> Limits(seconds=2.0).memory_mb
    512
    """

    seconds: float = 5.0
    """wall time; a verdict is there, and everything the scorer started is dead, half a second later at most"""
    memory_mb: int = 512
    """address space of one process, which bounds what it can hold; imports of the scorer count"""
    file_mb: int = 1
    """all that a scorer can write, in its own folder, which is gone with the process"""
    processes: int = 0
    """processes that a scorer may start; root is held to "none" or "any", as the kernel does not count root's"""
    open_files: int = 64
    max_bytes: int = 1_000_000
    """longest text, in UTF-8. A longer one is *wrong*, not without a verdict: else flooding would pay"""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, (int, float) if name == "seconds" else int):
                raise ValueError(f"Limits: {name} = {value!r} must be a {'' if name == 'seconds' else 'whole '}number")
            if not 0 <= value <= MOST or (value == 0 and name != "processes"):
                raise ValueError(f"Limits: {name} = {value} must be above 0 and at most {MOST}")


def size(text: str) -> int:
    """Bytes of a text in UTF-8, also of one with lone surrogates, as decoders can produce.

    >>> size("a\\u00e9\\ud800")
    6
    """
    return len(text.encode("utf-8", "surrogatepass"))
