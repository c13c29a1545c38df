"""Rewrites and undoes articles on disk: the journal first, then the article. Blocking.

An article that cannot be read or written raises OSError or JournalError. Other articles are not affected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from proxy.rewrite.base.kept import Known
from proxy.rewrite.base.result import RewriteResult
from proxy.rewrite.ondisk.files import ArticleFile, write_article
from proxy.rewrite.ondisk.journal import Journal, journal_for, journals_of, lost, merged, undo
from proxy.rewrite.ondisk.occurrences import RewrittenAddress
from proxy.rewrite.rewriter import TextKind
from proxy.source import Source


class ArticleReader(Protocol):
    """A `Rewriter`, or a stand-in that passes its calls on to one."""

    def rewrite(
        self,
        data: bytes,
        *,
        kind: TextKind,
        shown: Collection[Source] = (),
        ignored: bool = False,
        kept: Known | None = None,
    ) -> RewriteResult:
        """Return the rewritten article."""

    def addresses(self, data: bytes, *, kind: TextKind) -> list[bytes]:
        """Return the addresses of an article in their original spelling."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An article before and after rewriting. The file contains `result.data` only if it was written."""

    article: ArticleFile
    data: bytes
    result: RewriteResult


@dataclass(frozen=True, slots=True)
class Undone:
    """An article with its addresses put back, their number, and the entries whose address was not found."""

    article: ArticleFile
    data: bytes
    new_data: bytes
    count: int
    missing: tuple[RewrittenAddress, ...]


def rewritten(  # noqa: PLR0913 - what rewriters are told
    data: bytes,
    rewriter: ArticleReader,
    *,
    kind: TextKind,
    shown: Collection[Source] = (),
    ignored: bool = False,
    kept: Known | None = None,
) -> RewriteResult:
    """Rewrite the bytes of an article. `shown` has the sources that other articles show, which may be many.

    The rewriter may be another process, so it gets only those sources that matter for this article. `kept` has the
    facts of the pictures for which an earlier result asked.
    """
    result = rewriter.rewrite(data, kind=kind, ignored=ignored, kept=kept)
    known = [source for source in result.unsure if source in shown]
    return rewriter.rewrite(data, kind=kind, shown=known, ignored=ignored, kept=kept) if known else result


def rewrite_file(  # noqa: PLR0913 - what runs differ in
    article: ArticleFile,
    rewriter: ArticleReader,
    *,
    write: bool,
    shown: Collection[Source] = (),
    ignored: bool = False,
    settled: bool = True,
    kept: Known | None = None,
) -> Rewritten:
    """Rewrite one article. `shown` has the sources that other articles show. `ignored`: only list the addresses.

    `settled` is false while `shown` is incomplete; an article whose result depends on it is not written then. `kept` is
    the same as for `rewritten`; an article that needs it is not written without it.

    Raises:
        OSError: the article cannot be read or written, or was changed meanwhile.
        JournalError: its journal is damaged. Nothing is written then.
    """
    data = article.path.read_bytes()
    result = rewritten(data, rewriter, kind=article.kind, shown=shown, ignored=ignored, kept=kept)
    pending = (result.unsure and not settled) or (result.asked and kept is None)
    if write and result.changes and not pending:
        journal, name = journal_for(article.target, article.root), article.target
        entries = merged(journal.read(name), data, replaced=result.changes, new_data=result.data)
        journal.write(name, entries)
        write_article(article.path, result.data, expected=data, aside=journal.folder)
    return Rewritten(article, data, result)


def undo_file(article: ArticleFile, rewriter: ArticleReader, *, write: bool) -> Undone:
    """Put the original addresses of one article back. Entries that were not found stay in the journal.

    Raises:
        OSError, JournalError: as for `rewrite_file`.
    """
    data = article.path.read_bytes()
    journal, name = journal_for(article.target, article.root), article.target
    entries = journal.read(name)
    new_data, missing = undo(data, entries)
    count = len(entries) - len(missing)
    if missing:
        missing = lost(entries, missing, rewriter.addresses(new_data, kind=article.kind), new_data)
    if write and entries:
        if new_data != data:
            write_article(article.path, new_data, expected=data, aside=journal.folder)
        # The journal comes last: after a crash before this line, another undo finds all addresses already put back.
        journal.write(name, missing)
    return Undone(article, data, new_data, count, tuple(missing))


def journaled_elsewhere(
    paths: Iterable[Path], articles: Iterable[ArticleFile]
) -> Iterator[tuple[Journal, Path]]:
    """Yield the articles at or below the absolute `paths` that have a journal but are not among `articles`.

    They were renamed or deleted after they were rewritten, or no longer look like articles.
    """
    seen = {article.target for article in articles}
    for path in paths:
        for journal in journals_of(path):
            for name in journal.articles(path):
                if name not in seen:
                    seen.add(name)
                    yield journal, name
