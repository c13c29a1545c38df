"""Finds articles that were moved or renamed after they were rewritten, by the addresses in them. Blocking."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from proxy.rewrite.ondisk.files import ArticleFile
from proxy.rewrite.ondisk.journal import Journal, JournalError
from proxy.rewrite.ondisk.occurrences import RewrittenAddress, locate

_ADDRESS = re.compile(rb"[^\s\"'()<>\[\]|]*/image/[^\s\"'()<>\[\]|]+")
_TRIED = 5
"""How many articles, those with the most addresses of a journal, are compared with it entry by entry."""


def moved_articles(
    gone: Iterable[tuple[Journal, Path]], articles: Sequence[ArticleFile]
) -> dict[Path, ArticleFile]:
    """Map the name of each missing article in `gone` to the article that now has its addresses.

    That is the one of `articles` with the most entries of the journal, and at least one. Among equals, an article with
    the same file name wins, then the first. Unreadable journals and articles are skipped here; the code that needs one
    reports it.
    """
    journals = {name: (journal, entries) for journal, name in gone if (entries := _entries(journal, name))}
    wanted = {address for _, entries in journals.values() for address in _addresses(entries)}
    holders = _holders(articles, wanted) if wanted else {}
    found: dict[Path, ArticleFile] = {}
    for name, (journal, entries) in journals.items():
        votes = Counter(holder for address in _addresses(entries) for holder in holders.get(address, ()))
        tried = [articles[index] for index, _ in votes.most_common(_TRIED)]
        counts = [(_count(article, entries), article.path.name == name.name, article) for article in tried]
        best = max(counts, key=lambda item: item[:2], default=None)
        if best is not None and best[0]:
            found[name] = ArticleFile(best[2].path, journal.root, best[2].kind, known_as=name)
    return found


def _entries(journal: Journal, name: Path) -> list[RewrittenAddress]:
    try:
        return journal.read(name)
    except JournalError:
        return []


def _addresses(entries: Iterable[RewrittenAddress]) -> set[bytes]:
    return {address for entry in entries for address in _ADDRESS.findall(entry.new)}


def _holders(articles: Sequence[ArticleFile], wanted: set[bytes]) -> dict[bytes, list[int]]:
    """Map each address to the numbers of the articles that contain it."""
    holders: defaultdict[bytes, list[int]] = defaultdict(list)
    for number, article in enumerate(articles):
        try:
            data = article.path.read_bytes()
        except OSError:
            continue
        for address in wanted.intersection(_ADDRESS.findall(data)):
            holders[address].append(number)
    return holders


def _count(article: ArticleFile, entries: Sequence[RewrittenAddress]) -> int:
    try:
        return len(locate(article.path.read_bytes(), entries)[0])
    except OSError:
        return 0
