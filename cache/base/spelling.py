"""Two spellings of a canonical source URL: the present one, and the one that stores of before may hold. Pure.

Canonical URLs once left the characters below as they were. Web servers in front escape them, so they are escaped now;
what is kept, blocked or listed under the former spelling is found by it.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile("%(22|3C|3E|5E|60|7B|7C|7D)")
_RAW = re.compile('["<>^`{|}]')


def present_spelling(url: str) -> str:
    """Return the URL as it is spelled now."""
    return _RAW.sub(lambda found: f"%{ord(found[0]):02X}", url)


def former_spelling(url: str) -> str | None:
    """Return the URL as it was spelled before; None when there is no difference."""
    former = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), url)
    return former if former != url else None
