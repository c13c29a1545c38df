"""Parses the JSON of our own packs: articles and blocks. Strict, because anyone may have made a pack. Pure."""

from __future__ import annotations

import json

from cache.originals.articles import moment_or_none
from proxy.archives.items import PackedArticle, PackedBlock, Refused


def article_of(text: bytes) -> PackedArticle:
    """Parse the JSON of an article.

    Raises:
        Refused: the JSON is invalid.
    """
    match _parsed(text):
        case {"article": str(name), "sources": [*sources], **more} if all(_is_url(url) for url in sources):
            return PackedArticle(name, tuple(sources), moment_or_none(more.get("date")))
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


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable") from error


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= 8192
