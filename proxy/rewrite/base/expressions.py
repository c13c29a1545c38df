"""Detects template expressions in addresses, which a generator or framework will replace. Pure.

good   https://h.org/{{ page.img }}    https://h.org/<%= img %>    https://h.org/${img}    https://h.org/{img}
bad    https://h.org/{B0A9-44}.png     not a name, so it is part of the address
"""

from __future__ import annotations

import re

_EXPRESSION = re.compile(r"\{\{|\{%|<%|[$#]\{|\{[A-Za-z_$][\w$.]*+(?:\([^(){}]*+\)|\[[^\[\]{}]*+\])?+\}")


def has_expression(text: str) -> bool:
    """Return whether an address contains a template expression or the beginning of one."""
    return ("{" in text or "<%" in text) and _EXPRESSION.search(text) is not None
