"""Wrappers that stand where nothing is rewritten: in code, comments, scripts, plain text. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from proxy.rewrite.result import Left
from proxy.rewrite.spot import address_text

_ADDRESS = re.compile(r"(?:https?:)?//[A-Za-z0-9][^\x00-\x20\"'<>()\\`]{3,2000}+", re.IGNORECASE)
_REASON = "in code, a comment, a script or plain text"
MAX_REPORTED = 1000
"""Enough for a person; a hostile article may hold a million."""


def leftovers(
    text: str,
    handled: list[tuple[int, int]],
    *,
    is_wrapper: Callable[[str], bool],
    line_of: Callable[[int], int],
) -> list[Left]:
    """Return the wrappers of `text` outside of the `handled` ranges, which are in order."""
    found: list[Left] = []
    index = 0
    for match in _ADDRESS.finditer(text):
        while index < len(handled) and handled[index][1] <= match.start():
            index += 1
        if index < len(handled) and handled[index][0] < match.end():
            continue
        address = address_text(match[0])
        if is_wrapper(address):
            found.append(Left(line_of(match.start()), address, _REASON, on_purpose=True))
            if len(found) == MAX_REPORTED:
                break
    return found
