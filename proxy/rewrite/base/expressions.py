"""Template expressions in addresses: what a generator or a framework puts its own text in place of. Pure.

good   https://h.org/{{ page.img }}    https://h.org/<%= img %>    https://h.org/${img}    https://h.org/{img}
bad    https://h.org/{B0A9-44}.png     no name, so it is a part of the address
"""

from __future__ import annotations

import re

_EXPRESSION = re.compile(r"\{\{|\{%|<%|[$#]\{|\{[A-Za-z_$][\w$.]*+(?:\([^(){}]*+\)|\[[^\[\]{}]*+\])?+\}")


def has_expression(text: str) -> bool:
    """Tell whether an address holds a template expression, or the beginning of one."""
    return ("{" in text or "<%" in text) and _EXPRESSION.search(text) is not None
