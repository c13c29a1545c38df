"""Which sources a run remembers for an article, and in which lines of the article's file they stand. Pure.

Positions in a result are those of the article before it was rewritten. Where a change adds or takes away a line, the
written article is read again: addresses inside the change may have moved too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.rewrite.base.result import ArticlePicture, RewriteResult
from proxy.rewrite.ondisk.apply import ArticleReader
from proxy.rewrite.rewriter import TextKind

UsedSource = tuple[str, tuple[int, ...]]
"""The URL of a source, and the lines in which it stands, from 1; none if they are not known."""

_LINE_END = re.compile(rb"[\r\n]")


def used_sources(
    pictures: Iterable[ArticlePicture], result: RewriteResult, rewriter: ArticleReader, *, kind: TextKind
) -> tuple[UsedSource, ...]:
    """Return the sources of `pictures`, some of those of `result`, with their lines in the rewritten article."""
    found = tuple((picture.source.url, picture.lines) for picture in pictures)
    if not any(_LINE_END.search(item.old) or _LINE_END.search(item.new) for item in result.changes):
        return found
    lines = dict(shown_sources(result.data, rewriter, kind=kind))
    return tuple((url, lines.get(url, ())) for url, _ in found)


def shown_sources(data: bytes, rewriter: ArticleReader, *, kind: TextKind) -> tuple[UsedSource, ...]:
    """Return every source that an article shows, with its lines."""
    pictures = rewriter.rewrite(data, kind=kind).pictures
    return tuple((picture.source.url, picture.lines) for picture in pictures)
