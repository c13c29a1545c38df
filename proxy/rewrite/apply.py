"""Rewriting and undoing articles on disk: journal first, then the article. Synchronous.

What cannot be read or written raises OSError or JournalError for that article; the others are not affected.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.rewrite.files import ArticleFile, write_article
from proxy.rewrite.journal import journal_for, merged, undo
from proxy.rewrite.occurrences import Entry
from proxy.rewrite.result import RewriteResult
from proxy.rewrite.rewriter import Rewriter


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An article before and after; on disk it is `result.data` only when it was written."""

    article: ArticleFile
    data: bytes
    result: RewriteResult


@dataclass(frozen=True, slots=True)
class Undone:
    """An article with its addresses put back, how many, and the entries whose address is gone."""

    article: ArticleFile
    data: bytes
    new_data: bytes
    count: int
    missing: tuple[Entry, ...]


def rewrite_file(article: ArticleFile, rewriter: Rewriter, *, write: bool) -> Rewritten:
    """Rewrite one article.

    Raises:
        OSError: it cannot be read or written, or was changed meanwhile.
        JournalError: its journal is damaged; nothing is written then.
    """
    data = article.path.read_bytes()
    result = rewriter.rewrite(data, kind=article.kind)
    if write and result.replaced:
        journal = journal_for(article.path, article.root)
        entries = merged(journal.read(article.path), data, replaced=result.replaced, new_data=result.data)
        journal.write(article.path, entries)
        write_article(article.path, result.data, expected=data)
    return Rewritten(article, data, result)


def undo_file(article: ArticleFile, *, write: bool) -> Undone:
    """Put the original addresses of one article back; what was not found stays in the journal.

    Raises:
        OSError, JournalError: as `rewrite_file`.
    """
    data = article.path.read_bytes()
    journal = journal_for(article.path, article.root)
    entries = journal.read(article.path)
    new_data, missing = undo(data, entries)
    if write and entries:
        if new_data != data:
            write_article(article.path, new_data, expected=data)
        # Last: after a crash before this, undoing again finds everything already put back.
        journal.write(article.path, missing)
    return Undone(article, data, new_data, len(entries) - len(missing), tuple(missing))
