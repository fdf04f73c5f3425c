"""Words and numbers as a page prints them; whatever a model or a run wrote comes out visible and inert."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that draw nothing or reorder their neighbors: control, format (bidi, zero-width), surrogate,
private use, line and paragraph separators"""

UNCERTAIN = re.compile(r"[^ -~]")
"""all but printable ASCII: what has to be looked up"""


def visible(text: str, keep: str = "\n\t") -> str:
    """The text with every character that would not be seen spelled out, except those in ``keep``.

    >>> visible("a" + chr(0) + "b" + chr(0x202E) + "c")
    'a␀b⟨U+202E⟩c'
    >>> visible("two lines" + chr(10), keep="")
    'two lines␊'
    """
    return UNCERTAIN.sub(lambda match: match[0] if match[0] in keep else _glyph(match[0]), text)


def _glyph(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return f"⟨U+{code:04X}⟩" if unicodedata.category(character) in HIDDEN else character


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, and how many were left out.

    >>> shorten("abcdef", 4), shorten("abcd", 4)
    ('abcd … (+2 characters)', 'abcd')
    """
    return text if len(text) <= limit else f"{text[:limit]} … (+{len(text) - limit:,} characters)"


def plotted(text: str) -> str:
    """For Plotly, which reads a small HTML of its own in names and hover texts.

    >>> plotted("<b>1 & 2</b>")
    '&lt;b&gt;1 &amp; 2&lt;/b&gt;'
    """
    return escape(visible(text, keep=""), quote=False)


def jsonable(value: Any) -> Any:
    """The value as strict JSON: hidden characters spelled out, non-finite numbers as null (a gap in a line).

    >>> jsonable({"y": [1.0, float("nan")], "name": chr(0xD800)})
    {'y': [1.0, None], 'name': '⟨U+D800⟩'}
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {visible(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [jsonable(item) for item in value]
    return value


def percent(share: float) -> str:
    """
    >>> percent(0.461), percent(float("nan"))
    ('46.1%', 'not finite')
    """
    return f"{share:.1%}" if math.isfinite(share) else "not finite"


def number(value: float, digits: int = 3) -> str:
    """A real minus sign, a fixed number of decimals.

    >>> number(-0.5), number(2.0, 2)
    ('−0.500', '2.00')
    """
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "not finite"


def ascii_of(cell: str) -> str:
    """A number as a script reads it: a page has real minus signs, and keeps an interval on one line."""
    return cell.replace("−", "-").replace("\u00a0", " ")


def nats(value: float) -> str:
    """
    >>> nats(0.2934)
    '0.293 nats'
    """
    return f"{number(value)} nats"


def listed(parts: Sequence[str]) -> str:
    """
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def sentence(text: str) -> str:
    """Capital first letter, one full stop.

    >>> sentence("entropy fell")
    'Entropy fell.'
    """
    return text[:1].upper() + text[1:].rstrip(".") + "."
