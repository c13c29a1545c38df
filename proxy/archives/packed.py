"""Parses the JSON of our own packs: articles and blocks. Strict, because anyone may have made a pack. Pure."""

from __future__ import annotations

import json
from typing import Any

from cache.originals.articles import MAX_LINES, KeptArticle, moment_or_none
from proxy.archives.items import PackedArticle, PackedBlock, Refused

MAX_LINE = (1 << 31) - 1
"""The largest number of a line."""


def article_of(text: bytes) -> PackedArticle:
    """Parse the JSON of an article.

    Raises:
        Refused: the JSON is invalid.
    """
    match _parsed(text):
        case {"article": str(name), "sources": [*sources], **more} if all(_is_url(url) for url in sources):
            # Whatever the lines are, a purge by article must know the sources.
            lines = _lines_of(more.get("lines", {}))
            date = moment_or_none(more.get("date"))
            return PackedArticle(name, tuple(sources), date, lines or {}, has_bad_lines=lines is None)
    raise Refused("unreadable")


def block_of(text: bytes) -> PackedBlock:
    """Parse the JSON of a block.

    Raises:
        Refused: the JSON is invalid.
    """
    match _parsed(text):
        case {"source": str(url), "reason": str(reason)} if _is_url(url):
            return PackedBlock(url, reason)
    raise Refused("unreadable")


def packed_article(article: KeptArticle) -> dict[str, Any]:
    """Return the JSON values of an article: its sources, its date, and the lines that are known."""
    known = {"article": article.name, "sources": article.sources, "date": article.date}
    return known | ({"lines": dict(article.lines)} if article.lines else {})


def _lines_of(value: object) -> dict[str, tuple[int, ...]] | None:
    """Return lines by source; None if this is something else."""
    if not isinstance(value, dict):
        return None
    found = {}
    for url, lines in value.items():
        is_list = _is_url(url) and isinstance(lines, list) and 0 < len(lines) <= MAX_LINES
        if not is_list or not all(map(_is_line, lines)):
            return None
        found[url] = tuple(lines)
    return found


def _is_line(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_LINE


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable") from error


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= 8192
