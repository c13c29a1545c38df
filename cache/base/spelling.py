"""Two spellings of a canonical source URL: the current one, and one that older stores may contain. Pure.

Canonical URLs once left the characters below unescaped. Web servers in front escape them, so they are escaped now.
Anything kept, blocked or listed under the former spelling is still found by it.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile("%(22|3C|3E|5E|60|7B|7C|7D)")
_RAW = re.compile('["<>^`{|}]')


def present_spelling(url: str) -> str:
    """Return the URL in its current spelling."""
    return _RAW.sub(lambda found: f"%{ord(found[0]):02X}", url)


def former_spelling(url: str) -> str | None:
    """Return the URL in its former spelling, or None if it is the same."""
    former = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), url)
    return former if former != url else None
