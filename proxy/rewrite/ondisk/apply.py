"""Rewriting and undoing articles on disk: journal first, then the article. Synchronous.

What cannot be read or written raises OSError or JournalError for that article; the others are not affected.
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
    """A `Rewriter`, or what stands in front of one."""

    def rewrite(
        self,
        data: bytes,
        *,
        kind: TextKind,
        shown: Collection[Source] = (),
        ignored: bool = False,
        kept: Known | None = None,
    ) -> RewriteResult:
        """Return the article rewritten."""

    def addresses(self, data: bytes, *, kind: TextKind) -> list[bytes]:
        """Return the addresses of an article as they are spelled."""


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
    """Return an article rewritten; `shown` are the sources that other articles show, which may be many.

    The rewriter may be another process: it gets those that matter here only. `kept` is what is known of the pictures
    that an earlier result asked for.
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
    """Rewrite one article; `shown` are sources that other articles show. `ignored`: only list what it has.

    `settled` is false while nobody knows what others show: an article that it matters to is not written then. `kept`:
    as for `rewritten`; an article that asks for it is not written without it.

    Raises:
        OSError: it cannot be read or written, or was changed meanwhile.
        JournalError: its journal is damaged; nothing is written then.
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
    """Put the original addresses of one article back; what was not found stays in the journal.

    Raises:
        OSError, JournalError: as `rewrite_file`.
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
        # Last: after a crash before this, undoing again finds everything already put back.
        journal.write(name, missing)
    return Undone(article, data, new_data, count, tuple(missing))


def journaled_elsewhere(
    paths: Iterable[Path], articles: Iterable[ArticleFile]
) -> Iterator[tuple[Journal, Path]]:
    """Yield the articles at or below `paths`, absolute, that have a journal and are not among `articles`.

    They were renamed or deleted since they were rewritten, or do not look like articles any more.
    """
    seen = {article.target for article in articles}
    for path in paths:
        for journal in journals_of(path):
            for name in journal.articles(path):
                if name not in seen:
                    seen.add(name)
                    yield journal, name
