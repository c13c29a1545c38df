"""Footnotes in Markdown: `[^name]: text` is a block with text in it, not a reference definition. Pure; linear.

CommonMark does not know them, and would take the first word of the text for an address. A list item has the same
shape: its text may go on in indented paragraphs. So each footnote is shown to the block reader as one.
"""

from __future__ import annotations

import re

_FOOTNOTE = re.compile(r"(?:(?<=[\r\n])|\A)((?: {0,3}>)*+ {0,3})(\[\^[^\]\[\s]{1,200}\]:)")


def as_items(text: str, start: int) -> str:
    """Return the text with a list's mark in the place of each footnote's behind `start`; nothing moves."""
    if "[^" not in text:
        return text
    body = _FOOTNOTE.sub(lambda match: f"{match[1]}- {'x' * (len(match[2]) - 3)}:", text[start:])
    return text[:start] + body
