"""Turns Markdown images into HTML when the configuration asks for attributes on them. Pure.

![a *b*](http://h/a.png "t")    ->    <img src="…" alt="a b" title="t" …>

A tag alone on a line begins an HTML block (CommonMark §4.6, kinds 6 and 7), which extends to the next blank line. So an
image that is a whole paragraph becomes an HTML paragraph. An image whose tag would pull other lines into the HTML block
stays Markdown.
"""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML

from proxy.rewrite.commonmark.region import Lines
from proxy.rewrite.markup.imgtags import MarkdownImage, Place

LONGEST = 4096
_LIST_ITEM = re.compile(r"[ \t>]*+(?:[-*+]|[0-9]{1,9}[.)])[ \t]")
_LEAD = re.compile(r"[ \t>]*+")
_RENDERER = RendererHTML()
_PARSER = MarkdownIt("commonmark")


def place_of(  # noqa: PLR0913 - a place in a block in an article
    content: str, opened_at: int, end: int, *, kind: str, lines: Lines, span: tuple[int, int]
) -> Place:
    """Return the effect that an HTML tag in place of the image `content[opened_at:end]` would have on its block.

    `kind` describes the block: the type of its opening token, a space, and its markup, or "hidden" for a paragraph of
    a tight list. `span` is the range of its lines.
    """
    if "\n" in content[opened_at:end]:
        return "uncertain"
    rest = content[end:].partition("\n")
    if (
        content[:opened_at].strip()
        or rest[0].strip()
        or kind.startswith(("td_open", "th_open", "heading_open #"))
    ):
        return "inline"
    if rest[2].strip() or not kind.startswith("paragraph_open"):
        return "lines"
    if not _ends(lines, span, tight=kind.endswith("hidden")):
        return "lines"
    return "inline" if kind.endswith("hidden") else "paragraph"


def _ends(lines: Lines, span: tuple[int, int], *, tight: bool) -> bool:
    """Return whether an HTML block in place of a paragraph would end where the paragraph ends."""
    if span[1] >= len(lines.spans):
        return True
    following = lines.text[slice(*lines.spans[span[1]])]
    if not following.strip(" \t>"):
        return True
    # The next item of a list ends the HTML block in this one.
    own = lines.text[slice(*lines.spans[span[0]])]
    return tight and _LIST_ITEM.match(following) is not None and _lead(following) <= _lead(own)


def _lead(line: str) -> int:
    match = _LEAD.match(line)
    return match.end() if match else 0


def img_of(image: MarkdownImage, address: str, attributes: str) -> bytes | None:
    """Return the `<img>` for a Markdown image, or None when its text is not UTF-8 or not a single image to the parser.

    `attributes` follow the alternative text and the title.
    """
    try:
        text = image.text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None
    if len(text) > LONGEST:
        return None
    children = _PARSER.parseInline(text)[0].children or []
    if len(children) != 1 or children[0].type != "image":
        return None
    (token,) = children
    alt = _RENDERER.renderInlineAsText(token.children, _PARSER.options, {})
    title = token.attrGet("title")
    titled = f' title="{_held(str(title))}"' if title is not None else ""
    tag = f'<img src="{html.escape(address)}" alt="{_held(alt)}"{titled}{attributes}>'
    return (f"<p>{tag}</p>" if image.place == "paragraph" else tag).encode("utf-8", "replace")


def _held(text: str) -> str:
    """Escape text for an attribute so that Markdown, its tables and template engines do not change it."""
    text = html.escape(text)
    return "".join(f"&#{ord(char)};" if char in "|{}`\n" else char for char in text)
