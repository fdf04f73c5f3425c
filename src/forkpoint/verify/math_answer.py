r"""Whether the last ``\boxed{...}`` of a completion equals the gold answer, by the library Math-Verify.

For a pool, never in-process: computer algebra has no bound on time or memory, ``9^{9^{9^9}}`` is an answer too::

    Pool("forkpoint.verify.math_answer:math_answer").score([("42", r"so it is \boxed{84/2}")])

Needs ``pip install 'forkpoint[verify]'``. The library's own time limits are off, as they need the main thread and
answer "not equal"; the pool's limit answers *none*.
"""

import re

try:
    from math_verify import LatexExtractionConfig, parse, verify
except ImportError as error:
    raise ImportError(f"{error}; pip install 'forkpoint[verify]'") from None

from forkpoint.verify._verdict import Verdict, none

LONGEST, DEEPEST, MOST_DIGITS = 1000, 30, 100
"""characters of an answer, nested brackets, digits in a row: more than answers have; checked before parsing"""
BOXED = r"\boxed{"


def math_answer(gold: str, text: str) -> Verdict:
    r"""Verdict on the last boxed answer of ``text``, as LaTeX, against ``gold``, with or without a box.

    Wrong is also: no box, an answer over the caps or that cannot be read, or a chain such as ``x=1=42`` (the library
    would take either side); else writing such would pay. A gold answer that cannot be read gives none.

    >>> [math_answer("42", text).outcome for text in (r"\boxed{84/2}", r"\boxed{41}", "42")]
    ['correct', 'wrong', 'wrong']
    """
    answer = boxed(text)
    if answer is None:
        return Verdict("wrong", "no closed \\boxed{...}")
    if fault := over_caps(answer):
        return Verdict("wrong", fault)
    truth, given = _parsed(boxed(gold) or gold), _parsed(answer)
    if not truth:
        return none(f"the gold answer {gold!r} cannot be read")
    if not given:
        return Verdict("wrong", "an answer that cannot be read")
    equal = verify(truth, given, timeout_seconds=None, raise_on_error=True)
    return Verdict("correct") if equal else Verdict("wrong", "not equal to the gold answer")


def boxed(text: str) -> str | None:
    r"""What the last ``\boxed{...}`` holds; None where there is none or it is not closed. Linear in the text.

    >>> boxed(r"\boxed{1} and \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    start = text.rfind(BOXED) + len(BOXED)
    depth = 1
    for mark in re.finditer(r"\\.|[{}]", text[start:]) if start >= len(BOXED) else ():
        depth += {"{": 1, "}": -1}.get(mark[0], 0)
        if depth == 0:
            return text[start : start + mark.start()]
    return None


def over_caps(answer: str) -> str:
    """Why an answer is not given to the parser; empty where it is.

    >>> over_caps("1" * 101), over_caps("x = 42")
    ('more than 100 digits in a row', '')
    """
    if len(answer) > LONGEST:
        return f"an answer of more than {LONGEST} characters"
    if re.search(rf"\d{{{MOST_DIGITS + 1}}}", answer):
        return f"more than {MOST_DIGITS} digits in a row"
    depth = deepest = 0
    for character in answer:
        depth += (character in "{([") - (character in "])}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        return f"brackets nested deeper than {DEEPEST}"
    return "more than one equals sign" if answer.count("=") > 1 else ""


def _parsed(answer: str) -> list:
    reading = [LatexExtractionConfig(boxed_match_priority=0)]
    try:
        # None turns its time limit off, whatever its signature says
        return parse(f"{BOXED}{answer}}}", reading, parsing_timeout=None, raise_on_error=True)  # type: ignore[arg-type]
    except MemoryError:
        raise
    except Exception:  # of many kinds, from the grammar and from sympy
        return []
