"""What a scorer says of one completion."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

Outcome = Literal["correct", "wrong", "none"]
LONGEST_REASON = 200
"""characters of a reason that come from outside: it goes to records and terminals"""


@dataclass(frozen=True)
class Verdict:
    """``none`` means that no verdict was reached (a limit, a crash): it is not the same as wrong."""

    outcome: Outcome
    reason: str = ""

    @property
    def correct(self) -> bool:
        return self.outcome == "correct"


def none(reason: str) -> Verdict:
    return Verdict("none", one_line(reason))


def stated(outcome: object, reason: object) -> Verdict:
    """The verdict that a worker or a scorer states; ``none`` where these are not words of a verdict.

    >>> stated("correct", ""), stated("perfect", "").outcome
    (Verdict(outcome='correct', reason=''), 'none')
    """
    if type(outcome) is not str or outcome not in get_args(Outcome) or type(reason) is not str:
        return none("the scorer's verdict has an outcome or a reason that is none")
    return Verdict(cast(Outcome, outcome), one_line(reason))


def raised(error: BaseException) -> str:
    """``raised TypeError: ...``, whatever the error's own text does."""
    try:
        said = str(error)
    except BaseException:  # the text is made by code of whoever raised it
        said = ""
    return one_line(f"raised {type(error).__name__}: {said}" if said else f"raised {type(error).__name__}")


def one_line(text: str) -> str:
    r"""At most ``LONGEST_REASON`` characters, none of which moves a cursor, breaks a line or cannot be encoded.

    >>> one_line("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    cut = text[: LONGEST_REASON + 1]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return shown if len(shown) <= LONGEST_REASON else shown[: LONGEST_REASON - 1] + "…"
