"""Masks footnotes in Markdown: `[^name]: text` is a block of text, not a reference definition. Pure; linear.

CommonMark has no footnotes and would take the first word of the text for an address. A list item has the same shape as
a footnote, because its text may continue in indented paragraphs. So the block reader sees each footnote as a list item.
"""

from __future__ import annotations

import re

_FOOTNOTE = re.compile(r"(?:(?<=[\r\n])|\A)((?: {0,3}>)*+ {0,3})(\[\^[^\]\[\s]{1,200}\]:)")


def as_items(text: str, start: int) -> str:
    """Replace the mark of each footnote after `start` by a list mark of the same length."""
    if "[^" not in text:
        return text
    body = _FOOTNOTE.sub(lambda match: f"{match[1]}- {'x' * (len(match[2]) - 3)}:", text[start:])
    return text[:start] + body
