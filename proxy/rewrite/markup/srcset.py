"""Parses the candidates of a `srcset` value (HTML §4.8.4.2.2, "parse a srcset attribute"). Pure.

Commas inside an address belong to it; Cloudflare's and Photon's addresses have many. Only commas at its end separate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BETWEEN = re.compile(r"[\t\n\f\r ,]*+")
_ADDRESS = re.compile(r"[^\t\n\f\r ]++")
_DESCRIPTORS = re.compile(r"(?:[^,()]++|\([^)]*+(?:\)|\Z)|\))*+")


_WIDTH = re.compile(r"[\t\n\f\r ]++([1-9][0-9]{0,4})w(?=[\t\n\f\r ,]|\Z)")


def candidates(value: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each address of `value`."""
    for start, end, _ in described(value):
        yield start, end


def described(value: str) -> Iterator[tuple[int, int, int]]:
    """Yield start and end of each address of `value`, and the width in its descriptor (`300w`), 0 without one."""
    position = 0
    while True:
        between = _BETWEEN.match(value, position)
        position = between.end() if between else position
        address = _ADDRESS.match(value, position)
        if address is None:
            return
        position = address.end()
        end = address.start() + len(address[0].rstrip(","))
        width = _WIDTH.match(value, position) if end == position else None
        yield address.start(), end, int(width[1]) if width else 0
        if end == position:
            descriptors = _DESCRIPTORS.match(value, position)
            position = descriptors.end() if descriptors else position
